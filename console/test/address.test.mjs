import test from 'node:test';
import assert from 'node:assert/strict';
import { pure } from './pure.mjs';

const { parse, href, search, milliseconds, range, stepFor, doorsOf } = await pure('address');

test('the last part of the path is the view, behind any prefix', () => {
  assert.equal(parse('/', '').view, 'fleet');
  assert.equal(parse('/tills/prod/query', '').view, 'query');
  assert.equal(parse('/tills/prod/', '').view, 'fleet');
  assert.equal(parse('/nowhere', '').view, 'fleet');
});

test('what is written into an address is read from it', () => {
  const params = { store_id: '<b>&"shop" 7%', q: '0.5,0.95', range: '6h' };
  const address = href('query', params);
  assert.ok(address.startsWith('./query?q=0.5,0.95&range=6h&store_id='));
  assert.ok(!/[<>"& ]shop/.test(address));
  const [path, text] = address.split('?');
  assert.deepEqual(parse(path, '?' + text), { view: 'query', params });
});

test('one state has one address', () => {
  assert.equal(search({ b: '2', a: 1, c: '', d: null, e: undefined }), 'a=1&b=2');
  assert.equal(href('fleet'), './');
});

test('the first of two equal keys counts', () => {
  assert.deepEqual(parse('/', '?a=1&a=2&b=').params, { a: '1' });
});

test('lengths of time are read, and nothing else', () => {
  assert.deepEqual(['15m', '6h', '7d', '', '0m', '1w', '1e3m', undefined].map(milliseconds), [900_000, 21_600_000, 604_800_000, null, null, null, null, null]);
});

test('a range ends with a whole minute unless its times are fixed', () => {
  const now = 1_796_015_177_500;
  assert.deepEqual(range({}, now), { from: 1_796_011_560_000, to: 1_796_015_160_000, isFixed: false, name: '1h' });
  assert.deepEqual(range({ from: '1796000000000', to: '1796000600000', range: '7d' }, now), { from: 1_796_000_000_000, to: 1_796_000_600_000, isFixed: true, name: '' });
  assert.equal(range({ from: '9', to: '3' }, now).isFixed, false);
  assert.equal(range({ range: 'ever' }, now, '24h').name, '24h');
});

test('the step leaves so many points as can be seen', () => {
  assert.deepEqual([900_000, 3_600_000, 21_600_000, 86_400_000, 604_800_000, 7_776_000_000].map((length) => stepFor(length)), ['1m', '1m', '5m', '15m', '2h', '1d']);
});

test('where tills post is what the settings say', () => {
  const of = (settings) => doorsOf(Object.entries(settings).map(([name, value]) => ({ name, value })), 'rum.example.com');
  assert.deepEqual(of({ listen: '127.0.0.1:8080', auth: null, tls_certificate: null }), { url: 'http://127.0.0.1:8080', isKnown: true, hasToken: false });
  assert.deepEqual(of({ listen: '0.0.0.0:8443', tls_certificate: '/etc/tls.pem', allow_unauthenticated: 'false' }), { url: 'https://rum.example.com:8443', isKnown: true, hasToken: true });
  assert.equal(of({ listen: '[::]:8080', allow_unauthenticated: 'true' }).url, 'http://rum.example.com:8080');
  assert.equal(of({ listen: '[::1]:8080', auth: 'required' }).hasToken, true);
  assert.deepEqual(of({ listen: '127.0.0.1:0' }), { url: 'http://127.0.0.1:8080', isKnown: false, hasToken: false });
  assert.deepEqual(of({}), { url: 'http://127.0.0.1:8080', isKnown: false, hasToken: false });
});
