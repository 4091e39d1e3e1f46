import test from 'node:test';
import assert from 'node:assert/strict';
import { pure } from './pure.mjs';

const { passed, reason, restsOn, samplesOf } = await pure('measures');
const flat = (text) => text.replaceAll('\u202f', ' ');

test('a number says how many samples it is of', () => {
  const store = { sync_p95_ms: 900, sync_samples: 312, sync_success: 0.99, sync_attempts: 40, login_p95_ms: 200, login_samples: 7, lcp_p75_ms: 1, lcp_samples: 21, inp_samples: 0, pending_max: 867 };
  assert.deepEqual(['sync_p95_ms', 'sync_success', 'login_p95_ms', 'lcp_p75_ms', 'inp_p75_ms', 'network_p75_ms', 'pending_max'].map((key) => samplesOf(store, key)), [312, 40, 7, 21, 0, null, null]);
  assert.equal(restsOn(store, 'sync_p95_ms'), 'of 312 samples in 5 min');
  assert.equal(restsOn(store, 'sync_success'), 'of 40 attempts in 10 min');
  assert.equal(restsOn(store, 'login_p95_ms'), 'of 7 samples in 5 min, too few to judge');
  assert.equal(restsOn(store, 'inp_p75_ms'), 'of 0 samples in 5 min');
});

test('why a store stands where it stands is said in words', () => {
  const silent = { metric: 'terminals_silent', level: 'warning', value: 2, limit: 0 };
  const slow = { metric: 'sync_duration_ms', level: 'critical', value: 6140, limit: 5000 };
  assert.deepEqual(passed(silent), { what: '2 tills silent', limit: '' });
  assert.equal(passed({ ...silent, value: 1 }).what, '1 till silent');
  assert.equal(flat(reason({ state: 'warning', why: [silent] }, 0)), '2 tills silent');
  assert.equal(flat(reason({ state: 'critical', why: [silent, slow] }, 0)), 'Sync p95 6.14 s, limit 5 s +1');
  assert.equal(flat(reason({ state: 'critical', why: [{ metric: 'sync_success', level: 'critical', value: 0.933, limit: 0.95 }] }, 0)), 'Only 93.3 % synced, limit 95 %');
  assert.equal(reason({ state: 'silent', why: [silent], last_report: 1 }, 720_001), 'Silent for 12 min');
});
