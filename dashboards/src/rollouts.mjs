// The row that shows what the collector's verdicts say of rollouts (docs/rollouts.md). The collector says it on its page about
// itself, which is not that of the board's job.

import * as g from './grafana.mjs';
import { SWEEP_AGE_S, TOLERATED, VERDICTS, VOLUME, WORSE, WORSE_SHARE } from './limits.mjs';

const of = (name, ...matchers) => g.ofOtherPage(`tillwatch_rollout_${name}`, 'release=~"$release"', ...matchers);
const verdict = (word) => of('verdict', `verdict="${word}"`);
/** A verdict as a number; only one of the four series is 1. */
const VERDICT = `max by (release, against, step) (${verdict('pass')} or 2 * ${verdict('hold')} or 3 * ${verdict('fail')})`;
const WORDS = g.words({ 0: 'not judged', 1: 'pass', 2: 'hold', 3: 'FAIL' });
const COLOURS = [{ color: g.HUES[4], value: null }, { color: g.GOOD, value: VERDICTS[0] }, { color: g.FAIR, value: VERDICTS[1] }, { color: g.POOR, value: VERDICTS[2] }];
const inWords = (name, mappings) => g.healthColumn(name, 'none', COLOURS, { mappings });

/** Why a verdict is no pass, for somebody who has not read the plan. */
const REASONS = g.words({
  no_candidates: 'no store has the release',
  no_criteria: 'the plan asks nothing',
  first_look: 'the first look is still to come',
  too_early: 'the step has not lasted long enough',
  too_few_stores: 'too few stores have it, or too few do not',
  incomplete: 'terminals have not delivered',
  adoption: 'too few terminals of the step have it',
  single_stores: 'single stores are far worse',
  incident: 'something happened that must not, such as lost data',
  silence: 'terminals fell silent on it',
  worse: 'a metric is worse than tolerated',
  past_limit: 'a metric is past the limit for a rollback',
  undecided: 'a metric may still be worse than tolerated',
  between_limits: 'a metric is between its limits',
  between_the_limits: 'a metric is between its limits',
  too_few_samples: 'too few stores have enough values',
});

const byRelease = (expression) => g.prom(expression, '', { instant: true, format: 'table' });
const ROLLOUTS = [
  ['Verdict', VERDICT],
  ['Last look', `3600 * max by (release) (${of('look_hours')})`],
  ['Next in', `min by (release) (${of('next_look_timestamp_seconds')}) - time()`],
  ['Stores', `max by (release) (${of('stores', 'group="candidate"')})`],
  ['Others', `max by (release) (${of('stores', 'group="control"')})`],
  ['Awaited', `max by (release) (${of('terminals_awaited')})`],
  ['Revisions', `max by (release) (${of('revisions')})`],
  ['Last one', `time() - max by (release) (${of('revised_timestamp_seconds')})`],
];
const value = (at) => `Value #${String.fromCharCode(65 + at)}`;
const LABELS = { release: 'Release', against: 'Against', step: 'Step, %' };
/** Each release has one step at a time, so the release alone joins the queries. */
const ROLLOUTS_JOINED = [
  { id: 'joinByField', options: { byField: 'release', mode: 'outer' } },
  { id: 'filterFieldsByName', options: { include: { pattern: '^(release|against|step|Value.*)$' } } },
  {
    id: 'organize',
    options: {
      excludeByName: {},
      indexByName: Object.fromEntries([...Object.keys(LABELS), ...ROLLOUTS.map((_, at) => value(at))].map((name, at) => [name, at])),
      renameByName: { ...LABELS, ...Object.fromEntries(ROLLOUTS.map(([name], at) => [value(at), name])) },
    },
  },
];

const BOUNDS = [
  ['At least', 'low'],
  ['Estimate', 'estimate'],
  ['At most', 'high'],
];
/** The interval of each metric and release; `of` names both, because tables are joined by one label. */
const intervals = (name, ...matchers) => BOUNDS.map(([, bound]) => byRelease(`label_join(max by (release, metric) (${of(name, `bound="${bound}"`, ...matchers)}), "of", " ", "release", "metric")`));
const METRIC_COLUMN = g.override('Release and metric', { 'custom.width': 270 });
const intervalTable = (extra) =>
  g.table({ transformations: g.joined('of', 'Release and metric', BOUNDS.map(([name]) => name)), sortBy: 'Estimate', h: 7, needs: 'rollouts', ...extra });

/** The row at the head of the board of releases. */
export const rolloutRow = () => [
  g.row('Verdicts', { needs: 'rollouts' }),
  g.stat({
    title: 'May the rollout go on?',
    description: 'The verdict that stands at the present step of each release. pass: go on. FAIL: roll back. hold: neither has been shown, the reasons stand beside it. Empty: no release is judged. Nothing else on this board is a verdict.',
    needs: 'rollouts',
    targets: [g.prom(VERDICT, '{{release}} at {{step}} %', { instant: true })],
    unit: 'none',
    thresholds: COLOURS,
    mappings: WORDS,
    colorMode: 'background',
    spark: false,
    noValue: 'no rollout',
    w: 4,
    h: 7,
  }),
  g.table({
    title: 'Rollouts',
    description: 'What each verdict stands on. Looks are planned 1, 2, 4, 8, 12 and 24 hours after a step began, and then daily; between them the last verdict stands. The terminals that are awaited have not delivered the hours of the last look. Revisions are verdicts that came out otherwise when late data had come, and how long ago the last one was: read it again if you acted on it.',
    needs: 'rollouts',
    targets: ROLLOUTS.map(([, expression]) => byRelease(expression)),
    transformations: ROLLOUTS_JOINED,
    columns: [
      inWords('Verdict', WORDS),
      g.plainColumn('Last look', 's', { decimals: 0, mappings: g.words({ 0: 'none yet' }) }),
      ...['Next in', 'Last one'].map((name) => g.plainColumn(name, 's', { decimals: 1 })),
      ...['Stores', 'Others', 'Awaited', 'Revisions'].map((name) => g.plainColumn(name, 'short', { decimals: 0, 'custom.width': 80 })),
    ],
    sortBy: 'Release',
    w: 14,
    h: 7,
  }),
  g.table({
    title: 'Why it is no pass',
    description: 'Every reason that stands against a pass now; a release that passes has none. `tillwatch rollout verdict --release RELEASE` says which metric, which stores and which terminals.',
    needs: 'rollouts',
    targets: [byRelease(`max by (release, reason) (${of('reason')})`)],
    transformations: [{ id: 'organize', options: { excludeByName: { Time: true, Value: true }, indexByName: { release: 0, reason: 1 }, renameByName: { release: 'Release', reason: 'Reason' } } }],
    columns: [g.override('Release', { 'custom.width': 80 }), g.override('Reason', { mappings: REASONS })],
    sortBy: 'Release',
    w: 6,
    h: 7,
  }),
  intervalTable({
    title: 'Durations and levels against the other stores, times',
    description: 'By which factor the stores with the release became worse than the others: 1 is equal. A failure stands on the lower end (over 1, with an estimate over the plan\'s tolerance), a pass on the upper end (under it); the colours are those of the default plan, 1.2. Without a bound: too few stores.',
    targets: intervals('worse_ratio', 'metric!="samples"'),
    columns: [
      METRIC_COLUMN,
      g.healthColumn('At least', 'suffix:×', g.higherIsWorse(WORSE), { decimals: 2 }),
      ...['Estimate', 'At most'].map((name) => g.healthColumn(name, 'suffix:×', g.higherIsWorse(TOLERATED), { decimals: 2 })),
    ],
    w: 9,
  }),
  intervalTable({
    title: 'Shares against the other stores, difference',
    description: 'By how much the share of bad ones became greater than in the other stores: nothing is equal. Amber at the lower end: worse, and not by chance; whether it fails is for the limits of the plan. A pass needs what the others have, with the upper end, within the limit.',
    targets: intervals('worse_difference_ratio'),
    columns: [
      METRIC_COLUMN,
      g.healthColumn('At least', 'percentunit', g.higherIsWorse(WORSE_SHARE), { decimals: 2 }),
      ...['Estimate', 'At most'].map((name) => g.plainColumn(name, 'percentunit', { decimals: 2 })),
    ],
    w: 9,
  }),
  g.table({
    title: 'Samples against the other stores, times',
    description: 'How many samples the stores with the release send, of what they should by their own week and the others. At most under 0.8 fails: terminals do not work, or do not measure. Call a store.',
    needs: 'rollouts',
    targets: BOUNDS.map(([, bound]) => byRelease(`max by (release) (${of('worse_ratio', `bound="${bound}"`, 'metric="samples"')})`)),
    transformations: g.joined('release', 'Release', BOUNDS.map(([name]) => name)),
    columns: [
      ...BOUNDS.slice(0, 2).map(([name]) => g.healthColumn(name, 'suffix:×', g.lowerIsWorse(VOLUME), { decimals: 2 })),
      g.healthColumn('At most', 'suffix:×', [{ color: g.POOR, value: null }, { color: g.GOOD, value: VOLUME[0] }], { decimals: 2 }),
    ],
    w: 6,
    h: 7,
  }),
  g.stateTimeline({
    title: 'Verdicts over time',
    description: 'How the verdict of each step went: green is pass, amber hold, red fail, grey not judged. A band that ends was followed by the next step, or the release is gone.',
    needs: 'rollouts',
    targets: [g.prom(VERDICT, '{{release}} at {{step}} %')],
    unit: 'none',
    thresholds: COLOURS,
    mappings: WORDS,
    decimals: 0,
    w: 20,
    h: 5,
  }),
  g.stat({
    title: 'Rollouts last looked at',
    description: 'How long ago the collector looked at all rollouts. Over two hours: verdicts stand as they were, whatever the release does; follow the runbook of TillwatchRolloutSweepsFailing.',
    needs: 'rollouts',
    targets: [g.prom(`time() - max(${g.ofOtherPage('tillwatch_rollout_swept_timestamp_seconds')})`, 'ago')],
    unit: 's',
    decimals: 0,
    thresholds: g.higherIsWorse(SWEEP_AGE_S),
    spark: false,
    w: 4,
    h: 5,
  }),
];
