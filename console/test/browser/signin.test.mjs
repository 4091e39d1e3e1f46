// Somebody who has to show a key before they see anything.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Browser, Collector, isLive, pagesOf, program, Till, until, well } from './support.mjs';

const root = new URL('../../..', import.meta.url).pathname;

describe('a collector that wants a key', { timeout: 120_000 }, () => {
  let collector;
  let pages;
  let browser;
  const keys = {};
  before(async () => {
    collector = new Collector({ TILLWATCH_ADMIN_AUTH: 'required' });
    for (const scope of ['read', 'metrics']) {
      const to = join(collector.data, scope + '.key');
      execFileSync(program, ['key', 'new', '--data-dir', collector.data, '--scope', scope, '--to', to], { cwd: root, stdio: 'ignore' });
      keys[scope] = readFileSync(to, 'utf8').trim();
    }
    await collector.start();
    pages = await pagesOf(collector);
    await new Till(collector, 'store-1').post({ samples: well() });
    browser = await new Browser().start();
  });
  after(async () => {
    await browser?.stop();
    await pages?.stop();
    await collector?.stop();
  });

  /** Wherever a page could leave something: not one of these may hold the key. */
  async function traces(page) {
    return [page.url(), ...browser.asked, ...browser.said, await page.evaluate(async () => {
      const databases = await indexedDB.databases();
      const caches_ = await caches.keys();
      return JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, history.state, databases, caches_, performance.getEntries().map(({ name }) => name), document.documentElement.outerHTML, [...document.querySelectorAll('input')].map(({ value }) => value)]);
    })].join('\n');
  }

  test('the page asks for it, refuses a wrong one in words, and lets the right one in, which it keeps nowhere', async () => {
    assert.match(keys.read, /^tw_/);
    const page = await browser.open(pages.url + '/?find=store');
    const field = page.getByLabel('Key', { exact: true });
    await field.waitFor();
    assert.equal(await page.locator('h1').textContent(), 'Sign in');
    assert.doesNotMatch(await page.content(), /store-1/);

    await field.fill('tw_000000000000_' + 'x'.repeat(43));
    await page.keyboard.press('Enter');
    await until(async () => (await page.locator('#key-said').textContent()) === 'The collector has no such key.', 'a refusal in words');
    await field.fill(keys.metrics);
    await page.keyboard.press('Enter');
    await until(async () => (await page.locator('#key-said').textContent()) === 'This key does not have the scope read.', 'a refusal of the scope');
    await field.fill(keys.read);
    await page.keyboard.press('Enter');
    await page.waitForSelector('.rows [data-row="store-1"]', { timeout: 15_000 });
    await isLive(page);
    for (const key of Object.values(keys)) assert.ok(!(await traces(page)).includes(key.slice(-20)), 'no trace of the key');
    const [cookie] = await browser.context.cookies();
    assert.ok(cookie.httpOnly && cookie.sameSite === 'Strict' && !cookie.value.includes(keys.read.slice(-20)));

    await page.reload();
    await page.waitForSelector('.rows [data-row="store-1"]');
    assert.ok(page.url().endsWith('/?find=store'));
    const other = await browser.open(pages.url + '/settings');
    await other.waitForSelector('tbody tr');
    assert.ok(!(await traces(other)).includes(keys.read.slice(-20)));

    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Key', { exact: true }).waitFor();
    assert.doesNotMatch(await page.content(), /store-1/);
    assert.deepEqual(await browser.context.cookies(), []);
    const answer = await page.evaluate(async () => (await fetch('api/v1/fleet')).status);
    assert.equal(answer, 401);
    // The stream that the other page looks at is not one of a session that is over.
    await other.reload();
    await other.getByLabel('Key', { exact: true }).waitFor();
    assert.deepEqual(browser.said.filter((text) => !/Failed to load resource: .* 40[13]/.test(text)), []);
  });

  test('a cookie ends with its key', async () => {
    const page = await browser.open(pages.url + '/');
    await page.getByLabel('Key', { exact: true }).fill(keys.read);
    await page.keyboard.press('Enter');
    await page.waitForSelector('.rows [data-row="store-1"]');
    const id = /^tw_([^_]+)_/.exec(keys.read)[1];
    execFileSync(program, ['key', 'revoke', '--data-dir', collector.data, '--id', id], { cwd: root, stdio: 'ignore' });
    await page.reload();
    await page.getByLabel('Key', { exact: true }).waitFor();
    assert.doesNotMatch(await page.content(), /store-1/);
  });
});
