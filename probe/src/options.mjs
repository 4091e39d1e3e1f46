// The command line.
import { parseArgs } from 'node:util';

export const HELP = `tillwatch-probe runs scenarios against a point-of-sale page in headless Chromium, and says whether they
pass and how long they take. What it measures goes to tillwatch as synthetic, apart from what real users measure.

  tillwatch-probe run SCENARIO… --url URL --store STORE [OPTIONS]
  tillwatch-probe check SCENARIO…       reads scenarios and runs nothing

A scenario is a file of JSON; docs/probes.md describes its steps, and scenarios/ has four to begin with.

What is run, and how often:
  --url URL              the page's address, such as https://pos.example.com; paths of scenarios stand behind it
  --every TIME           how often each scenario runs, such as 15m or 1h (default 1h)
  --once                 runs each scenario once and ends
  --retries N            how often a scenario that is not ok is tried again at once; its last try counts (default 1)
  --limit-factor N       multiplies every limit, for a machine that is slower than the tills (default 1)
  --hold-back PATH       a path at which this page posts measurements, beside tillwatch's own doors; what the page
                         itself posts there is held back, because it would count as real users (may be repeated)
  --browser FILE         Chromium or Chrome (default: CHROMIUM, else where it is usually installed)

Where what was measured goes:
  --collector URL        the collector's address, such as https://rum.example.com; without it nothing is posted
  --store STORE          the store that it counts for
  --terminal NAME        the terminal that it counts for (default probe-1)
  --token-file FILE      a token or a static key that may post for the store; it is read anew at each post
  --release NAME         the release of the page, if you know it
  --metrics HOST:PORT    serves /metrics for Prometheus there, such as 127.0.0.1:9469

What is kept:
  --data-dir DIR         what the collector has not acknowledged, and when each scenario last ran
                         (default tillwatch-probe-data; one probe a folder)
  --screenshots DIR      pictures of the page at a step that was not ok (default DATA-DIR/screenshots)
  --screenshots-kept N   how many pictures are kept; the oldest go first (default 50)

It writes one line for each step and run. SIGTERM or Ctrl-C ends it within seconds; a run that is under way counts for nothing.

Exit status:
  0  all scenarios passed, or it was told to end
  1  a scenario failed or was over a limit (with --once)
  2  the command line, a scenario, the token file or the data folder cannot be used; nothing was run
  3  Chromium is missing or does not start (with --once)
  4  all scenarios passed, but the collector has not taken all of it; the next run sends what is left (with --once)
`;

export class UsageError extends Error {}

const NAME = /^[A-Za-z0-9_.:-]{1,64}$/;
const RELEASE = /^[A-Za-z0-9_.:+@-]{1,64}$/;

/** A span such as `90s`, `15m` or `1h`, in ms. */
export function spanMs(text) {
  const [, number, unit] = /^(\d+)(s|m|h)$/.exec(text) ?? [];
  const ms = Number(number) * { s: 1000, m: 60_000, h: 3_600_000 }[unit];
  // setTimeout holds 24 days.
  if (!(ms >= 1000 && ms <= 14 * 86_400_000)) throw new UsageError(`--every ${text} is no time from 1s to 14 days such as 15m or 1h`);
  return ms;
}

function address(option, text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    throw new UsageError(`${option} ${text} is no address such as https://example.com`);
  }
  if (!['http:', 'https:'].includes(url.protocol) || url.username || url.search || url.hash) throw new UsageError(`${option} ${text} must begin with http:// or https:// and have no user, ? or #`);
  return url.href.replace(/\/$/, '');
}

function number(option, text, least, most, isWhole = true) {
  const value = Number(text);
  if (!(text.trim() && value >= least && value <= most) || (isWhole && !Number.isInteger(value))) throw new UsageError(`${option} ${text} must be a ${isWhole ? 'whole ' : ''}number from ${least} to ${most}`);
  return value;
}

function named(option, text, form) {
  if (text !== undefined && !form.test(text)) throw new UsageError(`${option} ${text} must match ${form.source}`);
  return text;
}

/** What was asked for: `{ command, scenarios, … }`, or an error that says what is wrong. */
export function parse(args) {
  let parsed;
  const text = { type: 'string' };
  try {
    parsed = parseArgs({
      args,
      allowPositionals: true,
      options: {
        help: { type: 'boolean', short: 'h' },
        once: { type: 'boolean' },
        'hold-back': { type: 'string', multiple: true },
        ...Object.fromEntries(['url', 'every', 'retries', 'limit-factor', 'browser', 'collector', 'store', 'terminal', 'token-file', 'release', 'metrics', 'data-dir', 'screenshots', 'screenshots-kept'].map((name) => [name, text])),
      },
    });
  } catch (error) {
    throw new UsageError(error.message);
  }
  const { values, positionals } = parsed;
  const [command, ...scenarios] = positionals;
  if (values.help || command === 'help') return { command: 'help' };
  if (!['run', 'check'].includes(command)) throw new UsageError(command ? `there is no command ${command}; there are run and check` : 'say run or check');
  if (!scenarios.length) throw new UsageError(`name a scenario: tillwatch-probe ${command} scenarios/login.json`);
  if (command === 'check') return { command, scenarios };
  for (const needed of ['url', 'store']) if (!values[needed]) throw new UsageError(`--${needed} is missing`);
  if (values.once && values.every) throw new UsageError('--once and --every exclude each other');
  if (values.metrics && !/^.+:\d{1,5}$/.test(values.metrics)) throw new UsageError(`--metrics ${values.metrics} must be HOST:PORT such as 127.0.0.1:9469`);
  if (values['token-file'] && !values.collector) throw new UsageError('--token-file is for a collector: name it with --collector');
  for (const path of values['hold-back'] ?? []) if (!/^\/./.test(path)) throw new UsageError(`--hold-back ${path} must be a path such as /rum`);
  const dataDir = values['data-dir'] ?? 'tillwatch-probe-data';
  return {
    command,
    scenarios,
    url: address('--url', values.url),
    collector: values.collector && address('--collector', values.collector),
    store: named('--store', values.store, NAME),
    terminal: named('--terminal', values.terminal ?? 'probe-1', NAME),
    release: named('--release', values.release, RELEASE),
    tokenFile: values['token-file'],
    isOnce: Boolean(values.once),
    everyMs: spanMs(values.every ?? '1h'),
    retries: number('--retries', values.retries ?? '1', 0, 5),
    limitFactor: number('--limit-factor', values['limit-factor'] ?? '1', 0.001, 1000, false),
    held: values['hold-back'] ?? [],
    browser: values.browser,
    metrics: values.metrics,
    dataDir,
    screenshots: values.screenshots ?? `${dataDir}/screenshots`,
    screenshotsKept: number('--screenshots-kept', values['screenshots-kept'] ?? '50', 1, 10_000),
  };
}
