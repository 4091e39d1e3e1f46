// What the collector answers; docs/query_api.md describes it.

export type FleetState = 'critical' | 'warning' | 'silent' | 'fine' | 'quiet';
export interface Why { metric: string; level: 'critical' | 'warning'; value: number | null; limit: number | null }
type Maybe = number | null;
/** What a store and the fleet have in common. What the collector leaves out has no column. */
export interface FleetValues {
  why?: Why[]; sync_p95_ms?: Maybe; sync_samples?: Maybe; sync_success?: Maybe; sync_attempts?: Maybe; login_p95_ms?: Maybe; lcp_p75_ms?: Maybe; inp_p75_ms?: Maybe; network_p75_ms?: Maybe;
  login_samples?: Maybe; lcp_samples?: Maybe; inp_samples?: Maybe; network_samples?: Maybe;
  pending_max?: Maybe; memory_p95_mb?: Maybe; sync_failing?: Maybe; missing?: Maybe; lost?: Maybe; late?: Maybe;
  terminals?: Maybe; reporting?: Maybe; silent?: Maybe; silent_terminals?: Maybe; last_report?: Maybe; release?: string | null;
}
export interface FleetStore extends FleetValues { store_id: string; state: FleetState; why: Why[]; distance?: number }
export interface Fleet { seq?: number; t: number; complete_to: number; stores: FleetStore[]; all: FleetValues; sparks?: { minute: number; all: string; stores: Record<string, string> } }

/** Into or out of critical or silent, or a word about a rollout. */
export type Change = { t: number; kind: 'store'; store_id: string; from: FleetState; to: FleetState; why: Why[] }
  | { t: number; kind: 'release'; release: string; verdict: string; step_percent: number | null; occasion: string };
export interface Changes { changes: Change[] }
export interface LiveTerminal { terminal_id: string; last_seen_ms: number | null; release: string | null; is_reporting: boolean; levels: Record<string, Level>; beats: string }
export interface Detail {
  row: FleetStore; terminals: LiveTerminal[]; late: Record<string, number>; batches: { received: number; missing: number; lost: number; explained: number };
  data_loss_incidents: number; minute: number; beats_since?: number | null;
}
export interface PipelinePoint { t: number; batches: number; samples: number; requests: number; refused: number; p50_ms: Maybe; p99_ms: Maybe }
export interface Pipeline { t: number; started_at: number; version: string; series: Record<string, number>; points: PipelinePoint[] }

export interface Metric {
  metric: string; aliases: string[]; help: string; kind: 'distribution' | 'level' | 'counter'; unit: string;
  thresholds: number[]; threshold_note: string | null; label: { key: string; values: string[] } | null;
}
export interface Metrics { metrics: Metric[] }

export interface Point { t: number; count: number; sum: number; min: number; max: number; over: number[]; values: Record<string, number> }
export interface Series { points: Point[]; store_id?: string; release?: string; connection?: string; label?: string }
export interface Percentiles {
  metric: string; unit: string; from: number; to: number; step_s: number | null; complete_to: number; minutes_from?: number;
  series_total?: number; series: Series[];
}

export interface Level { t: number; value: number }
export interface Sums { metric: string; label?: string; unit: string; count: number; sum: number; min: number; max: number; last?: number; over_low: number; over_high: number }
export interface Terminal {
  terminal_id: string; release: string | null; last_seen_ms: number | null; browser: string | null; is_reporting: boolean; state: string;
  clock_skew_ms: number | null; clock_jumps: number; missing_batches: number; lost_batches: number;
  levels: Record<string, Level>; metrics: Sums[];
}
export interface Terminals { store_id: string; from?: number; complete_to: number; terminals_total: number; terminals: Terminal[] }
export interface SilentTerminal {
  store_id: string; terminal_id: string; state: string; since: number | null; missed_ms: number; pending_transactions: number | null;
  last_said: { kind: string; t: number } | null; is_store_silent: boolean;
}
export interface Silent { ready_since: number | null; terminals_total: number; terminals: SilentTerminal[] }

export interface Group {
  fingerprint: string; type: string | null; message: string | null; name?: string | null; count: number; fatal: number;
  first_seen: number; last_seen: number; stores: number; terminals: number; are_more: boolean; releases: string[];
  trend: { t: number; count: number }[]; note?: string;
}
export interface Errors { since: number; complete_to: number; step_s: number; is_whole: boolean; groups: Group[] }
export interface Frame {
  fn: string | null; module: string | null; line: number | null; col: number | null;
  original?: { source: string; line: number; col: number; fn?: string | null } | null;
}
export interface Part { count: number; first_seen: number; last_seen: number; release?: string; store_id?: string }
export interface ErrorDetail extends Group {
  since: number; complete_to: number; step_s: number; frames: Frame[]; frames_release: string | null; by_release: Part[]; by_store: Part[];
  some_terminals: { store_id: string; terminal_id: string }[];
}

export interface Loss {
  store_id: string; terminal_id: string; queue: string | null; from_seq: number | null; to_seq: number | null; batches: number;
  state: 'open' | 'closed' | 'explained' | 'lost'; reason: string | null; samples: number | null; opened_at: number; ended_at: number | null; may_come_until: number | null;
}
export interface LossDay { day: number | string; t?: number; closed_batches: number; explained_batches: number; lost_batches: number; lost_samples_about: number }
export interface Losses {
  from: number; to: number; complete_to: number; statement: string; is_whole: boolean; days: LossDay[]; losses: Loss[];
  totals: { numbered: number; received: number; open: number; lost: number; explained: number };
}

export type Word = 'pass' | 'fail' | 'hold' | 'not_judged';
export interface JudgedMetric {
  metric: string; kind: string; unit?: string; before: number | null; now: number | null; others_before: number | null; others_now: number | null;
  worse: { estimate: number | null; low: number | null; high: number | null } | null; worse_is: 'factor' | 'difference';
  candidates: number; controls: number; samples: number; state: string;
  limits: { worse_at_most: number | null; green: number | null; rollback: number | null };
  far: string[];
}
export interface Judged {
  verdict: Word; reasons: { code: string; text: string }[]; release: string; against: string | null; step_percent: number; step_from: number | null;
  look_hours: number | null; next_look_hours: number | null; next_look: number | null; method: string;
  stores: { candidates: number; controls: number }; terminals: { candidates: number; controls: number; awaited: number; silent: unknown[] };
  metrics: JudgedMetric[];
}
export interface Look { verdict: Word; occasion: string; step_percent: number; against: string | null; look_hours: number | null; judged_at: number; samples: number }
/** Of a release of which nothing is known the collector says why, and no more. */
export type Said = Pick<Judged, 'verdict' | 'reasons' | 'release'> & Partial<Judged>;
export const isWhole = (said: Said | null | undefined): said is Judged => said?.stores !== undefined;
export interface Rollout { verdict: Word; judged: Said | null; revisions: number; history: Look[]; complete_to: number }
