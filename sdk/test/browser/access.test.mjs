// Who posts: tokens that run out, tokens that the page gives, and a collector of another origin.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey, sign } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Collector, Line, program, script, until } from './support.mjs';
import { PAGE, Till } from './till.mjs';

let collector;
let pages;
const lines = [];
const tills = [];
const files = { '/': PAGE, '/tillwatch.js': '' };

/** A token that ends at `expMs`, signed with the collector's own key. */
function token(store, expMs) {
  const folder = `${collector.data}/token_keys/`;
  const jwk = JSON.parse(readFileSync(folder + readdirSync(folder)[0], 'utf8'));
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(expMs / 1000);
  const claims = { aud: 'tillwatch', store, terminal: 'till-1', jti: Math.random().toString(16).slice(2).padEnd(32, '0'), iat: exp - 86_400, exp };
  const text = `${part({ typ: 'JWT', alg: 'EdDSA', kid: jwk.kid })}.${part(claims)}`;
  const key = createPrivateKey({ key: { kty: 'OKP', crv: 'Ed25519', x: jwk.x, d: jwk.d }, format: 'jwk' });
  return `${text}.${sign(null, Buffer.from(text), key).toString('base64url')}`;
}

async function made(options) {
  const line = await new Line(collector, files).start();
  lines.push(line);
  const till = new Till(line, options);
  tills.push(till);
  return till;
}

before(async () => {
  files['/tillwatch.js'] = script();
  pages = await new Line({ url: 'http://127.0.0.1:1' }, files).start();
  collector = new Collector({ TILLWATCH_AUTH: 'required', TILLWATCH_CORS_ORIGINS: pages.url });
  execFileSync(program, ['token', 'key', 'new', '--data-dir', collector.data], { stdio: 'ignore' });
  await collector.start();
});

after(async () => {
  for (const till of tills) await till.end();
  for (const line of [...lines, pages]) await line.stop();
  await collector.stop();
});

describe('tokens', { concurrency: true, timeout: 120_000 }, () => {
  test('a token that ran out while the till was away is renewed, and nothing is lost', async () => {
    const till = await made();
    till.options.token = token(till.store, Date.now() - 3 * 86_400_000);
    await till.open();
    await till.record(10);
    await till.flush();
    await till.record(10);
    await till.flush();
    await till.settled(collector);
    assert.deepEqual(till.line.posts.slice(0, 3).map(({ path }) => path.replace(/\?.*/, '')), ['/v1/batches', '/v1/token', '/v1/batches']);
    // The next page finds the renewed one, though its own is the old one.
    await till.close();
    const { length } = till.line.posts;
    await till.open();
    await till.record(5);
    await till.flush();
    await till.settled(collector);
    assert.ok(till.line.posts.slice(length).every(({ path }) => path.startsWith('/v1/batches')));
  });

  test('the page gives a token when it is asked', async () => {
    const till = await made();
    await till.open();
    const [old, fresh] = [token(till.store, Date.now() - 9 * 86_400_000), token(till.store, Date.now() + 86_400_000)];
    await till.page.evaluate(
      ([options, tokens]) => {
        window.asked = 0;
        tillwatch.init({ ...options, token: async () => tokens[window.asked++] });
      },
      [till.options, [old, fresh]],
    );
    await till.record(10);
    await till.flush();
    await till.record(10);
    await till.flush();
    await till.settled(collector);
    assert.equal(await till.page.evaluate(() => window.asked), 2);
  });

  test('without a token everything is kept until there is one', async () => {
    const till = await made();
    await till.open();
    await till.record(10);
    await till.flush();
    const { code, waiting } = await till.status();
    assert.equal(code, 'no_credential');
    assert.ok(waiting.samples >= 10);
    till.options.token = token(till.store, Date.now() + 86_400_000);
    await till.page.evaluate((options) => tillwatch.init(options), till.options);
    await till.flush();
    await till.settled(collector);
  });

  test('a beacon of a page that ends bears its token in the body', async () => {
    const till = await made();
    till.options.token = token(till.store, Date.now() + 86_400_000);
    await till.open();
    await till.record(3);
    await till.flush();
    await till.record(7);
    // The page stays, so that its part after the first await is sure to run; a real end is in the other tests.
    await till.page.evaluate(() => dispatchEvent(new Event('pagehide')));
    const beacon = await until(() => till.line.posts.find(({ head, body }) => !head.authorization && body.includes('"token"')), 'a beacon');
    assert.match(beacon.body.toString(), /^\{"token":"ey/);
    await till.settled(collector);
  });

  test('a collector of another origin: one preflight, then none', async () => {
    const till = new Till(pages, { url: collector.url });
    till.options.url = collector.url;
    till.options.token = token(till.store, Date.now() + 86_400_000);
    tills.push(till);
    await till.open();
    const session = await till.context.newCDPSession(till.page);
    let preflights = 0;
    await session.send('Network.enable');
    session.on('Network.requestWillBeSent', ({ request }) => (preflights += request.method === 'OPTIONS'));
    for (let round = 0; round < 4; round++) {
      await till.record(5);
      await till.flush();
    }
    await till.settled(collector);
    assert.equal(preflights, 1);
  });
});
