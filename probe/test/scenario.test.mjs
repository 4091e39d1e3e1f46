import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { LIMITS, ScenarioError, parseScenario, readScenarios, titleOf } from '../src/scenario.mjs';

const folder = fileURLToPath(new URL('../scenarios/', import.meta.url));
const OPEN = { goto: '/' };
const scenario = (steps, more = {}) => JSON.stringify({ name: 'buy', steps, ...more });

test('the scenarios that are shipped can be read, and measure what they promise', () => {
  const all = readScenarios(readdirSync(folder).map((name) => folder + name));
  const limits = Object.fromEntries(all.flatMap(({ steps }) => steps.filter(({ metric }) => metric).map((step) => [step.metric, step.limit_ms ?? step.limit_bytes])));
  assert.deepEqual(limits, { offline_login_duration_ms: 500, sync_100_duration_ms: 2000, memory_used_mb: 50_000_000, reconnect_to_synced_ms: 60_000 });
  const rounds = Object.fromEntries(all.flatMap(({ name, steps }) => steps.filter(({ repeat }) => repeat).map(({ repeat }) => [name, repeat])));
  assert.deepEqual(rounds, { memory_1000: 1000, offline_and_back: 3, sync_100: 100 });
});

test('a scenario gets its defaults', () => {
  const { timeoutMs, steps } = parseScenario(scenario([OPEN, { repeat: 2, steps: [{ click: '#a' }, { wait: '#b', timeout_ms: 5 }] }]), 'x.json');
  assert.equal(timeoutMs, 300_000);
  assert.deepEqual([steps[0].timeout_ms, steps[1].steps[0].timeout_ms, steps[1].steps[1].timeout_ms], [10_000, 10_000, 5]);
  assert.deepEqual(steps.map(titleOf), ['goto', 'repeat']);
  assert.equal(titleOf({ measure: 'login', from: 'a' }), 'measure login');
  assert.equal(titleOf({ evaluate: 'memory', name: 'heap' }), 'evaluate heap');
});

// What is wrong, and what the error must say.
const WRONG = [
  ['{', /^x\.json: is not JSON/],
  ['[]', /must be an object/],
  [scenario([OPEN], { name: 'Buy it' }), /"name" must be a name of small letters/],
  [scenario([]), /at least one step/],
  [scenario([OPEN], { step: [] }), /does not know "step"/],
  [scenario([OPEN], { timeout_ms: 1.5 }), /"timeout_ms" must be a whole number/],
  [scenario([{ click: '#a' }]), /step 1 must be goto/],
  [scenario(Array(LIMITS.steps + 1).fill(OPEN)), /101 steps; 100 are allowed/],
  [scenario([OPEN, { tap: '#a' }]), /step 2: must have exactly one of goto, click.*it has none/],
  [scenario([OPEN, { click: '#a', wait: '#b' }]), /step 2: must have exactly one.*it has click and wait/],
  [scenario([OPEN, { click: '#a', whith: 1 }]), /step 2: does not know "whith"; a step click may have click, timeout_ms/],
  [scenario([OPEN, 'click']), /step 2: must be an object/],
  [scenario([{ goto: 'https://elsewhere.example' }]), /step 1: "goto" must be a path/],
  [scenario([{ goto: '//elsewhere.example' }]), /step 1: "goto" must be a path/],
  [scenario([OPEN, { click: '' }]), /step 2: "click" must be a text/],
  [scenario([OPEN, { fill: '#a' }]), /step 2: needs either "with" or "with_env"/],
  [scenario([OPEN, { fill: '#a', with: 'b', with_env: 'B' }]), /step 2: needs either/],
  [scenario([OPEN, { go: 'away' }]), /step 2: "go" must be "offline" or "online"/],
  [scenario([OPEN, { wait: '#a', timeout_ms: 120_001 }]), /step 2: "timeout_ms" must be a whole number from 1 to 120000/],
  [scenario([OPEN, { measure: 'a' }]), /step 2: needs "from"/],
  [scenario([OPEN, { measure: 'a', from: 'start' }]), /step 2: "from" names the mark start, which no step before it sets/],
  [scenario([OPEN, { mark: 'start' }, { measure: 'a', from: 'start', limit_ms: 0 }]), /step 3: "limit_ms" must be a number above 0/],
  [scenario([OPEN, { mark: 's' }, { measure: 'a', from: 's', metric: 'memory_used_mb' }]), /step 3: "metric" must be a metric whose name ends in _ms/],
  [scenario([OPEN, { mark: 's' }, { measure: 'a', from: 's' }, { measure: 'a', from: 's' }]), /measures a twice/],
  [scenario([OPEN, { evaluate: '1 + 1' }]), /step 2: "evaluate" must be "memory" or "service_worker"/],
  [scenario([OPEN, { evaluate: 'service_worker', limit_bytes: 1 }]), /step 2: "limit_bytes" is for "memory" alone/],
  [scenario([OPEN, { repeat: 10_001, steps: [OPEN] }]), /step 2: "repeat" must be a whole number from 1 to 10000/],
  [scenario([OPEN, { repeat: 2, steps: [] }]), /step 2: needs "steps"/],
  [scenario([OPEN, { repeat: 2, steps: [{ clik: '#a' }] }]), /step 2, step 1 in it: must have exactly one/],
  [scenario([OPEN, { repeat: 2, steps: [{ repeat: 2, steps: [OPEN] }] }]), /a repeat inside a repeat/],
  [scenario([OPEN, { repeat: 2, steps: [{ evaluate: 'memory' }] }]), /step 1 in it cannot be evaluate: measure after the repeat/],
];

test('a wrong scenario is refused with its step named', () => {
  for (const [json, says] of WRONG) assert.throws(() => parseScenario(json, 'x.json'), (error) => error instanceof ScenarioError && says.test(error.message), json);
});

test('files that are missing or share a name are refused', () => {
  assert.throws(() => readScenarios([folder + 'none.json']), /none\.json: cannot be read \(ENOENT\)/);
  assert.throws(() => readScenarios([folder + 'login.json', folder + 'login.json']), /two scenarios are called login/);
  assert.throws(() => readScenarios(Array(21).fill('x')), /20 at most/);
});
