// The page without a framework: it is of another origin than the collector, which lets it in.
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { Collector, browser, folder, until } from '../../sdk/test/browser/support.mjs';

const root = new URL('../../', import.meta.url);
const FILES = { '/examples/plain/': 'examples/plain/index.html', '/sdk/dist/tillwatch.js': 'sdk/dist/tillwatch.js' };

test('the plain page measures a look-up and reports an error', async (t) => {
  const server = createServer((request, response) => {
    const file = FILES[new URL(request.url, 'http://localhost').pathname];
    if (!file) return void response.writeHead(404).end();
    response.writeHead(200, { 'content-type': file.endsWith('.js') ? 'text/javascript' : 'text/html' }).end(readFileSync(new URL(file, root)));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close().closeAllConnections());
  const origin = `http://localhost:${server.address().port}`;
  const collector = new Collector({ TILLWATCH_CORS_ORIGINS: origin });
  t.after(() => collector.stop());
  await collector.start();
  const profile = folder('plain');
  const context = await browser(profile);
  t.after(async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  });

  const page = context.pages()[0];
  await page.goto(`${origin}/examples/plain/?collector=${collector.url}`);
  await page.getByRole('button', { name: 'Look up a customer' }).click();
  const thrown = page.waitForEvent('pageerror');
  await page.getByRole('button', { name: 'Throw an error' }).click();
  assert.equal((await thrown).message, 'This is how an error looks.');
  const posted = page.waitForRequest((request) => request.url().startsWith(collector.url) && request.method() === 'POST');
  await page.getByRole('button', { name: 'Send at once' }).click();
  await posted;
  await until(async () => (await collector.totals()).get('customer_lookup_ms')?.count === 1, 'the look-up in ClickHouse', 100_000);
});
