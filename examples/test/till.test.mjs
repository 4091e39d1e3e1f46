// The till as a person uses it, in Chromium, with a real collector behind it.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { request } from 'node:http';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { Collector, browser, folder, until } from '../../sdk/test/browser/support.mjs';
import { startShop } from '../till/server.mjs';

const collector = new Collector();
before(() => collector.start());
after(() => collector.stop());

/** A till with a server and a profile of its own, which end with the test. */
async function openTill(t, options) {
  const shop = await startShop({ collector: collector.url, admin: collector.adminUrl });
  const profile = folder('till');
  const context = await browser(profile, { viewport: { width: 1024, height: 768 }, ...options });
  t.after(async () => {
    await context.close();
    await shop.stop();
    rmSync(profile, { recursive: true, force: true });
  });
  const page = context.pages()[0];
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto(shop.url);
  return { shop, page, errors, person: personAt(page) };
}

/** What a person does at the till. */
function personAt(page) {
  const click = (name) => page.getByRole('button', { name, exact: true }).click();
  return {
    click,
    async logIn(pin) {
      await page.getByLabel('Your PIN').fill(pin);
      await click('Log in');
    },
    async logOut() {
      await click('Log out');
      await page.getByLabel('Your PIN').waitFor();
    },
    async search(text) {
      await page.getByLabel('Search products').fill(text);
    },
    async put(...names) {
      for (const name of names) await page.locator('.product', { has: page.getByText(name, { exact: true }) }).click();
    },
    async sell(...names) {
      await this.put(...names);
      await click('Sell');
      await page.getByText('Touch a product to put it into the cart.').waitFor();
    },
    pullThePlug: () => click('Pull the plug'),
    putItBackIn: () => click('Put it back in'),
    see: (text) => page.getByText(text, { exact: true }).waitFor({ timeout: 20_000 }),
  };
}

/** The service worker has everything, and answers this page. */
const untilReadyForOffline = (page) =>
  page.evaluate(async () => {
    await navigator.serviceWorker.ready;
    if (!navigator.serviceWorker.controller) await new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve));
  });

test('a day at the till: online, without a network, a reload, and online again', async (t) => {
  const { shop, page, person, errors } = await openTill(t);
  await person.logIn('9999');
  await page.getByRole('alert').getByText('Nobody has this PIN.').waitFor();
  await person.logIn('1234');
  await person.see('Hello Ada.');

  await person.search('cro');
  await person.see('1 product found');
  assert.deepEqual(await page.locator('.product-name').allTextContents(), ['Croissant']);
  await person.put('Croissant');
  await person.search('');
  await person.sell('Espresso', 'Espresso');
  await person.sell('Apple');
  await person.sell('Tulips', 'Newspaper');
  await person.see('No sales waiting');
  await until(() => shop.soldIds.size === 3, 'three sales at the server');
  await untilReadyForOffline(page);

  await person.logOut();
  await person.pullThePlug();
  await person.see('Offline – selling goes on');
  await assert.rejects(page.evaluate(() => fetch('/api/ping')), /Failed to fetch/);
  await assert.rejects(page.evaluate(() => fetch('/v1/batches', { method: 'POST', body: '{}' })), /Failed to fetch/);
  await person.logIn('1234');
  await person.see('Hello Ada. This till let you in by itself.');
  await person.sell('Sourdough');
  await person.sell('Still water', 'Six eggs');
  await person.see('2 sales waiting');
  await person.put('Banana');
  // A reload ends what is being written; only what is on disk comes back.
  await until(() => page.evaluate(async () => (await store.all('cart')).some(({ name }) => name === 'Banana')), 'the cart on disk');

  await page.reload();
  await person.see('2 sales waiting');
  await person.see('Offline – selling goes on');
  await page.locator('.cashier', { hasText: 'Ada' }).waitFor();
  await page.locator('.line-name', { hasText: 'Banana' }).waitFor();
  const image = page.locator('.product img').first();
  await until(() => image.evaluate((img) => img.complete && img.naturalWidth > 0), 'the picture of a product out of the cache');
  assert.equal(shop.soldIds.size, 3);

  await person.putItBackIn();
  await person.see('No sales waiting');
  await until(() => shop.soldIds.size === 5, 'all sales at the server, each once');
  await page.locator('#line-state', { hasText: /^Online$/ }).waitFor();

  const totals = await until(async () => {
    const all = await collector.totals();
    const sum = (name) => all.get(name)?.sum ?? 0;
    const isAll =
      sum('offline_logins success') >= 1 &&
      sum('offline_transactions success') >= 2 &&
      sum('cache_requests hit') > 0 &&
      sum('sync_items_count') >= 5 &&
      ['sync_duration_ms', 'product_search_ms', 'idb_write_ms', 'session_restore_ms', 'lcp_ms', 'pending_transactions'].every((name) => all.has(name));
    return isAll && all;
  }, 'the measurements in ClickHouse', 60_000);
  const sumOf = (name) => totals.get(name)?.sum ?? 0;
  assert.equal(sumOf('offline_logins success'), 1);
  assert.equal(sumOf('offline_logins failure'), 0);
  assert.equal(sumOf('offline_transactions success'), 2);
  assert.equal(sumOf('sync_items_count'), 5);
  assert.equal(sumOf('login_failures'), 1);
  assert.equal(totals.get('offline_login_duration_ms').count, 1);
  assert.ok(totals.get('product_search_ms').count >= 1);

  // The panel shows the same, as the head office has it.
  await page.locator('#see-logins', { hasText: /^1$/ }).waitFor();
  await page.locator('#see-offline-sales', { hasText: /^2$/ }).waitFor();
  await page.locator('#see-pending', { hasText: /^0$/ }).waitFor();
  await page.locator('#see-sync', { hasText: /ms$/ }).waitFor();
  assert.deepEqual(errors, []);
});

test('an error is reported, and the till goes on', async (t) => {
  const { page, person, errors } = await openTill(t);
  await person.logIn('2580');
  await person.see('Hello Grace.');
  await person.click('Cause an error');
  await until(async () => (await collector.totals()).get('errors script')?.sum >= 1, 'the error in ClickHouse', 60_000);
  assert.deepEqual(errors, ['The receipt printer is out of paper.']);
  await person.sell('Toast');
  await person.see('No sales waiting');
});

test('a slow line is slow, and nothing else', async (t) => {
  const { page, shop, person } = await openTill(t);
  await person.logIn('1234');
  await person.see('Hello Ada.');
  await page.getByLabel('Make it slow').click();
  await until(async () => (await (await fetch(shop.url + '/plug')).json()).isSlow, 'the line to be slow');
  await person.sell('Green tea');
  await person.see('1 sale waiting');
  await until(() => shop.soldIds.size === 1, 'the sale at the server');
  await person.see('No sales waiting');
});

test('without consent nothing is sent; given again, page and service worker measure again', async (t) => {
  const { page, person } = await openTill(t);
  await person.logIn('1234');
  await person.see('Hello Ada.');
  await untilReadyForOffline(page);
  const posts = [];
  page.context().on('request', (request) => new URL(request.url()).pathname.startsWith('/v1/') && posts.push(request));
  await page.getByLabel('Consent given').click();
  await person.see('Nothing is measured, and what waited is deleted.');
  const before = posts.length;
  await person.sell('Nut bar');
  await page.reload();
  await person.sell('Liquorice');
  await page.evaluate(() => tillwatch.flush());
  assert.equal((await page.evaluate(() => tillwatch.status())).waiting.samples, 0);
  assert.equal(posts.length, before);
  assert.equal(await page.getByLabel('Consent given').isChecked(), false);

  await page.getByLabel('Consent given').click();
  await person.see('This till measures again.');
  await person.sell('Nut bar');
  const hits = async () => (await collector.totals()).get('cache_requests hit')?.sum ?? 0;
  const hitsBefore = await hits();
  await page.reload();
  await until(async () => posts.length > before && (await hits()) > hitsBefore, 'what page and worker measured', 60_000);
});

test('a phone has room for all of it', async (t) => {
  const { page, person } = await openTill(t, { viewport: { width: 390, height: 844 }, hasTouch: true });
  await person.logIn('1234');
  await person.see('Hello Ada.');
  await person.sell('Oat cookie');
  await page.getByText('What tillwatch sees').scrollIntoViewIfNeeded();
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390);
});

test('the shop’s server lets a page see two addresses of the admin listener, and no other page anything', async (t) => {
  const shop = await startShop({ collector: collector.url, admin: collector.adminUrl });
  t.after(() => shop.stop());
  const statusOf = async (path, options) => (await fetch(shop.url + path, options)).status;
  assert.equal(await statusOf('/watch/metrics/fleet'), 200);
  assert.equal(await statusOf('/watch/api/v1/percentiles?metric=lcp_ms'), 200);
  assert.equal(await statusOf('/watch/metrics'), 404);
  assert.equal(await statusOf('/watch/api/v1/stores'), 404);
  assert.equal(await statusOf('/watch/metrics/fleet', { method: 'POST' }), 404);
  assert.equal(await statusOf('/../server.mjs'), 404);
  assert.equal(await statusOf('/%2e%2e/server.mjs'), 404);
  assert.equal(await statusOf('/plug', { method: 'POST', body: '{"isPulled":true}' }), 400, 'a form of a foreign page');
  const foreign = await new Promise((resolve) => {
    request(shop.url + '/plug', { headers: { host: 'evil.example' } }, (answer) => resolve(answer.resume().statusCode)).end();
  });
  assert.equal(foreign, 421);
  assert.deepEqual(await (await fetch(shop.url + '/plug')).json(), { isPulled: false, isSlow: false });
});

// TILL_PICTURE=1 draws the picture for the documentation anew.
test('the picture', { skip: !process.env.TILL_PICTURE }, async (t) => {
  const { page, person } = await openTill(t);
  await person.logIn('1234');
  await person.see('Hello Ada.');
  await untilReadyForOffline(page);
  await page.reload();
  for (const word of ['app', 'water', 'choc']) {
    await person.search(word);
    await page.getByText(/found$/).waitFor();
  }
  await person.search('');
  await page.locator('.product', { hasText: 'Tulips' }).waitFor();
  await person.sell('Espresso', 'Croissant');
  await person.sell('Newspaper');
  await person.see('No sales waiting');
  await person.logOut();
  await person.pullThePlug();
  await person.logIn('1234');
  await person.sell('Sourdough');
  await person.sell('Apple', 'Banana');
  await person.putItBackIn();
  await person.see('No sales waiting');
  await page.locator('#see-logins', { hasText: /^[1-9]/ }).waitFor({ timeout: 60_000 });
  await page.locator('#see-offline-sales', { hasText: /^[1-9]/ }).waitFor({ timeout: 60_000 });
  await page.locator('#see-cache', { hasText: /%/ }).waitFor({ timeout: 60_000 });
  await person.pullThePlug();
  await person.sell('Flat white');
  await person.put('Croissant', 'Flat white', 'Flat white', 'Apple juice', 'Sourdough');
  await page.locator('#see-connection', { hasText: 'offline' }).waitFor();
  await page.locator('#products').evaluate((list) => list.scrollTo(0, 0));
  await page.mouse.move(2, 400);
  await page.locator('.toast.is-shown').waitFor({ state: 'hidden' }).catch(() => {});
  await page.waitForFunction(() => !document.querySelector('.toast.is-shown') && !document.getAnimations().some(({ playState }) => playState === 'running'));
  // As the pictures of the dashboards are written, with the same library: `npm ci` in dashboards/pictures brings it.
  const sharp = createRequire(new URL('../../dashboards/pictures/', import.meta.url))('sharp');
  const picture = sharp(await page.screenshot()).png({ palette: true, quality: 95, effort: 8, colours: 256 });
  await picture.toFile(fileURLToPath(new URL('../../docs/pictures/till.png', import.meta.url)));
});
