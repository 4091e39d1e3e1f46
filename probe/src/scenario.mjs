// A scenario: what is done at a page, read from a file of JSON and checked before anything is run, so that a mistake is
// found by whoever writes it and not at night. docs/probes.md describes every step.
import { readFileSync } from 'node:fs';

/** What keeps the series, the log and the length of a run bounded. */
export const LIMITS = { scenarios: 20, steps: 100, rounds: 10_000, stepMs: 120_000, runMs: 1_800_000 };

const NAME = /^[a-z0-9_]{1,64}$/;
const STEP_MS = 10_000;
const RUN_MS = 300_000;

export class ScenarioError extends Error {}

/** What each step may say: how a value is checked, and what it must be. The first key names the step. */
const text = [(value) => typeof value === 'string' && value.length > 0 && value.length <= 1000, 'a text'];
const name = [(value) => typeof value === 'string' && NAME.test(value), 'a name of small letters, digits and _ (64 at most)'];
const oneOf = (...values) => [(value) => values.includes(value), values.map((value) => JSON.stringify(value)).join(' or ')];
const whole = (least, most) => [(value) => Number.isInteger(value) && value >= least && value <= most, `a whole number from ${least} to ${most}`];
const positive = [(value) => typeof value === 'number' && value > 0 && Number.isFinite(value), 'a number above 0'];
const metric = (unit) => [(value) => typeof value === 'string' && NAME.test(value) && value.endsWith(unit), `a metric whose name ends in ${unit}`];

const STEPS = {
  goto: { goto: [(value) => typeof value === 'string' && /^\/(?!\/)/.test(value), 'a path such as "/": the address before it is given with --url'] },
  click: { click: text },
  fill: { fill: text, with: text, with_env: [(value) => typeof value === 'string' && /^[A-Z][A-Z0-9_]*$/.test(value), 'the name of an environment variable, such as POS_PIN'] },
  wait: { wait: text },
  wait_text: { wait_text: text },
  go: { go: oneOf('offline', 'online') },
  mark: { mark: name },
  measure: { measure: name, from: name, to: name, limit_ms: positive, metric: metric('_ms'), connection: oneOf('online', 'offline') },
  evaluate: { evaluate: oneOf('memory', 'service_worker'), name, limit_bytes: positive, metric: metric('_mb') },
  repeat: { repeat: whole(1, LIMITS.rounds), steps: [Array.isArray, 'a list of steps'] },
};
const COMMON = { timeout_ms: whole(1, LIMITS.stepMs) };

/** What a person calls a step, in the log, in the series and in the names of screenshots. */
export function titleOf(step) {
  const [kind] = Object.keys(STEPS).filter((kind) => kind in step);
  return ['measure', 'mark', 'evaluate'].includes(kind) ? `${kind} ${step.name ?? step[kind]}` : kind;
}

export const kindOf = (step) => Object.keys(STEPS).find((kind) => kind in step);

function checkStep(step, where, marks, isInside) {
  const fail = (what) => {
    throw new ScenarioError(`${where}: ${what}`);
  };
  if (typeof step !== 'object' || step === null || Array.isArray(step)) fail('must be an object such as {"click": "#sell"}');
  const kinds = Object.keys(STEPS).filter((kind) => kind in step);
  if (kinds.length !== 1) fail(`must have exactly one of ${Object.keys(STEPS).join(', ')}; it has ${kinds.join(' and ') || 'none'}`);
  const [kind] = kinds;
  const known = { ...STEPS[kind], ...COMMON };
  for (const key of Object.keys(step)) {
    if (!(key in known)) fail(`does not know "${key}"; a step ${kind} may have ${Object.keys(known).join(', ')}`);
    const [is, what] = known[key];
    if (!is(step[key])) fail(`"${key}" must be ${what}`);
  }
  if (kind === 'fill' && 'with' in step === 'with_env' in step) fail('needs either "with" or "with_env"');
  if (kind === 'measure') {
    if (!('from' in step)) fail('needs "from", the mark at which it begins');
    for (const key of ['from', 'to']) if (key in step && !marks.has(step[key])) fail(`"${key}" names the mark ${step[key]}, which no step before it sets`);
  }
  if (kind === 'evaluate' && step.evaluate !== 'memory') for (const key of ['name', 'limit_bytes', 'metric']) if (key in step) fail(`"${key}" is for "memory" alone`);
  if (kind === 'mark') marks.add(step.mark);
  if (kind !== 'repeat') return;
  if (isInside) fail('a repeat inside a repeat is not known');
  if (!step.steps?.length) fail('needs "steps"');
  step.steps.forEach((inner, at) => {
    checkStep(inner, `${where}, step ${at + 1} in it`, marks, true);
    // A value that a thousand rounds measure has no one limit that could be told from another.
    if (['measure', 'evaluate'].includes(kindOf(inner))) fail(`step ${at + 1} in it cannot be ${kindOf(inner)}: measure after the repeat`);
  });
}

/** The scenario in a text, or an error that names the step. `from` says where the text is from. */
export function parseScenario(json, from) {
  const fail = (what) => {
    throw new ScenarioError(`${from}: ${what}`);
  };
  let read;
  try {
    read = JSON.parse(json);
  } catch (error) {
    fail(`is not JSON: ${error.message}`);
  }
  if (typeof read !== 'object' || read === null || Array.isArray(read)) fail('must be an object with "name" and "steps"');
  for (const key of Object.keys(read)) if (!['name', 'about', 'timeout_ms', 'steps'].includes(key)) fail(`does not know "${key}"; a scenario has name, about, timeout_ms and steps`);
  if (!name[0](read.name)) fail(`"name" must be ${name[1]}`);
  const timeout = whole(1, LIMITS.runMs);
  if ('timeout_ms' in read && !timeout[0](read.timeout_ms)) fail(`"timeout_ms" must be ${timeout[1]}`);
  if (!Array.isArray(read.steps) || read.steps.length === 0) fail('"steps" must be a list of at least one step');
  if (read.steps.length > LIMITS.steps) fail(`has ${read.steps.length} steps; ${LIMITS.steps} are allowed: split it, or use repeat`);
  const marks = new Set();
  read.steps.forEach((step, at) => checkStep(step, `${from}, step ${at + 1}`, marks, false));
  if (kindOf(read.steps[0]) !== 'goto') fail('step 1 must be goto: before it there is no page');
  const measured = read.steps.map((step) => step.measure ?? (step.evaluate === 'memory' ? step.name ?? 'memory' : undefined)).filter(Boolean);
  const twice = measured.find((one, at) => measured.indexOf(one) !== at);
  if (twice) fail(`measures ${twice} twice; give each value a name of its own`);
  return { name: read.name, timeoutMs: read.timeout_ms ?? RUN_MS, steps: read.steps.map((step) => withTimeout(step)) };
}

const withTimeout = (step) => ({ ...step, timeout_ms: step.timeout_ms ?? STEP_MS, ...(step.steps ? { steps: step.steps.map(withTimeout) } : {}) });

/** The scenarios of some files. Two of one name would share their series. */
export function readScenarios(paths) {
  if (paths.length > LIMITS.scenarios) throw new ScenarioError(`${paths.length} scenarios are too many; a probe runs ${LIMITS.scenarios} at most`);
  const scenarios = paths.map((path) => {
    let json;
    try {
      json = readFileSync(path, 'utf8');
    } catch (error) {
      throw new ScenarioError(`${path}: cannot be read (${error.code}); name a file such as probe/scenarios/login.json`);
    }
    return parseScenario(json, path);
  });
  const names = scenarios.map(({ name }) => name);
  const twice = names.find((one, at) => names.indexOf(one) !== at);
  if (twice) throw new ScenarioError(`two scenarios are called ${twice}; their series could not be told apart`);
  return scenarios;
}
