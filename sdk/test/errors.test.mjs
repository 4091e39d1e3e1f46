// What leaves a till of an error.
import { readFileSync } from 'node:fs';
import assert from 'node:assert/strict';
import test from 'node:test';
import { load } from './load.mjs';

const { scrub, eventOf } = await load('errors');

test('what belongs to persons is taken out', () => {
  const cases = [
    ["Cannot read properties of undefined (reading 'customerName')", 'Cannot read properties of undefined (reading *)'],
    ["can't pay, won't print", "can't pay, won't print"],
    ['order 4711 failed after 3 tries in 250 ms', 'order 0 failed after 3 tries in 250 ms'],
    ['receipt for anna.schmidt+pos@example.com not sent', 'receipt for * not sent'],
    ['anna%40example.com is taken', '* is taken'],
    ['session 5f0c6a52-6f3f-4c0e-8f43-2a6b2f1f8f10 closed', 'session * closed'],
    ['key tw_live_9f3c2a7b1d40e6aa9f3c is unknown', 'key * is unknown'],
    ['said “Anna Schmidt” and "Bert" and `Carla`', 'said * and * and *'],
    ['cut off "Anna Schmidt, Hauptstr', 'cut off *'],
    ['Failed to fetch https://pos.example.com/cards?email=x now', 'Failed to fetch https://pos.example.com/cards now'],
    ['GET /api/v1/terminals/checkout gave 503', 'GET /api/v1/terminals/checkout gave 503'],
  ];
  for (const [text, scrubbed] of cases) assert.equal(scrub(text), scrubbed);
  assert.equal(scrub('x '.repeat(5000)).length, 1000);
});

test('nothing that the collector takes out for privacy stays in a quotation, an address or a token', () => {
  const vectors = JSON.parse(readFileSync(new URL('../../tests/fixtures/scrub.json', import.meta.url), 'utf8'));
  for (const { in: text } of vectors) {
    const scrubbed = scrub(text);
    assert.doesNotMatch(scrubbed, /\d{4}|\S@\S+\.\S/, text);
  }
});

test('a long text takes no long time', () => {
  for (const part of ['a', '"', "'", '@', 'a@', '?', '?=', '1', 'a1', '\u201c', '%40']) {
    const began = performance.now();
    scrub(part.repeat(100_000));
    assert.ok(performance.now() - began < 250, `${part}: ${performance.now() - began} ms`);
  }
});

test('stacks of Chromium, Firefox and Safari', () => {
  const frames = (stack) => eventOf({ name: 'TypeError', message: 'x', stack }, 0).frames;
  const app = { module: 'app.js', line: 10, col: 15 };
  assert.deepEqual(frames('TypeError: x\n    at pay (https://pos.example.com/app.js?v=1:10:15)\n    at https://pos.example.com/app.js:10:15'), [
    { fn: 'pay', ...app },
    { fn: '', ...app },
  ]);
  assert.deepEqual(frames('pay@https://pos.example.com/app.js:10:15\n@https://pos.example.com/app.js:10:15\n'), [
    { fn: 'pay', ...app },
    { fn: '', ...app },
  ]);
  assert.deepEqual(frames('TypeError: x\n    at async Cart.pay [as sell] (https://pos.example.com/app.js:10:15)'), [{ fn: 'async Cart.pay [as sell]', ...app }]);
  // The collector takes twenty.
  const many = frames(`Error\n${'    at f (a.js:1:2)\n'.repeat(5000)}`).length;
  assert.ok(many >= 20 && many <= 300, `${many} frames`);
});

test('what is thrown may be anything', () => {
  for (const thrown of [undefined, null, 'text', 5, {}, [], Symbol.iterator.description, new DOMException('x', 'AbortError')])
    assert.equal(eventOf(thrown, 1).k, 'error');
  assert.equal(eventOf('printer on fire', 1).message, 'printer on fire');
});
