// Limits of the dashboards that are no metric's: everything else comes from the catalogue.

/** Seconds since a store's last batch: three missed batches and more, then fifteen minutes. */
export const SILENT_S = [300, 900];
/** What the application may take of a terminal's memory: four targets, beside the limit of the catalogue. */
export const MEMORY_TARGETS = [30e6, 35e6, 45e6, 50e6];
/** Limits a store has passed, each once when it needs improvement and twice when it is poor. */
export const LIMITS_PASSED = [1, 3];
/** Times the median store. */
export const PEERS = [1.5, 3];
/** Times the expected odds of a bad value: alerts/rules/anomalies.yml. */
export const UNUSUAL = [2.5];
/** A verdict as a number: pass, hold, fail; less is not judged. */
export const VERDICTS = [1, 2, 3];
/** The factor that the default plan of a rollout tolerates of a duration; over the first at the lower end it is worse for certain. */
export const TOLERATED = [1.2];
export const WORSE = [1.001, 1.2];
/** The same of a difference of shares: more than nothing. */
export const WORSE_SHARE = [0.000001];
/** The share of its samples that a release must send. */
export const VOLUME = [0.8];
/** Seconds since the collector looked at all rollouts: the alert's, and half of it. */
export const SWEEP_AGE_S = [3600, 7200];
/** Refused logins of a store in five minutes that the alert calls a burst. */
export const LOGIN_BURST = [20];
/** The last run of a probe's scenario: over a limit, failed. */
export const PROBE_RESULTS = [1, 2];
/** Share of a budget on disk. */
export const FULL = [0.5, 0.8];
/** Age of the oldest epoch that waits for ClickHouse, seconds: twice the default seal, then an hour. */
export const OUTBOX_AGE_S = [600, 3600];
/** Share of requests that were refused. */
export const REFUSED = [0.001, 0.01];
/** Share of the samples that were rejected, as the alert has it. */
export const REJECTED = [0.01];
/** Time of a scrape of /metrics/fleet, seconds: the alert's, of ten at most. */
export const SCRAPE_S = [8];
/** Mean fdatasync, seconds. */
export const FSYNC_S = [0.01, 0.05];
/** Share of the terminals' batches that arrived. */
export const COVERAGE = [0.999, 0.99];
