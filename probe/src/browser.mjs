// Chromium, and a page in it that posts nothing to tillwatch.
import { accessSync, constants, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { doors } from './doors.mjs';

const PLACES = ['/usr/bin/chromium', '/usr/bin/google-chrome', '/usr/bin/chromium-browser', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'];
const FLAGS = ['--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const LAUNCH_MS = 60_000;

export class NoBrowser extends Error {}

/** Starts Chromium: `{ browser, kill }`. */
export async function launch(path = process.env.CHROMIUM) {
  const executablePath = path || PLACES.find((place) => existsSync(place));
  if (!executablePath) throw new NoBrowser('Chromium is missing: install it, or name it with --browser or CHROMIUM');
  try {
    accessSync(executablePath, constants.X_OK);
  } catch (error) {
    throw new NoBrowser(`${executablePath} cannot be started (${error.code}); --browser or CHROMIUM names it`);
  }
  // Chromium's sandbox does not work for root, and a probe should not be root anyway.
  const args = process.getuid?.() === 0 ? [...FLAGS, '--no-sandbox'] : FLAGS;
  // What a killed browser leaves behind is in a folder of its own.
  const folder = mkdtempSync(join(tmpdir(), 'tillwatch-probe-'));
  const clear = () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  try {
    const server = await chromium.launchServer({ executablePath, headless: true, args, env: { ...process.env, TMPDIR: folder }, host: '127.0.0.1', timeout: LAUNCH_MS, handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false });
    // Killed, and not closed: a page that is closed may still send something, and one that is killed may not.
    const kill = async () => {
      await server.kill().catch(() => {});
      clear();
    };
    return { browser: await chromium.connect(server.wsEndpoint(), { timeout: LAUNCH_MS }), kill };
  } catch (error) {
    clear();
    throw new NoBrowser(`${executablePath} does not start: ${error.message.split('\n')[0]}`);
  }
}

/**
 * A page as a new till has it. Its library believes that a person is using it, so what it posts would count as that of
 * real users: what the page and its workers send to a door of tillwatch is held back.
 */
export async function openPage(browser, held) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const isDoor = doors(held);
  let heldBack = 0;
  await context.route(
    (url) => isDoor.test(url.pathname),
    (route) => {
      if (route.request().method() !== 'POST') return route.fallback();
      heldBack += 1;
      return route.abort('blockedbyclient');
    },
  );
  await context.addInitScript(keepNothingAlive, isDoor.source);
  return { page: await context.newPage(), context, heldBack: () => heldBack };
}

/**
 * In the page: what it sends to a door ends with it, because no route sees what outlives the page. What it sends while it
 * ends is not sent at all: on a busy machine the route would come too late.
 */
function keepNothingAlive(doors) {
  const isDoor = (to) => new RegExp(doors).test(new URL(to instanceof Request ? to.url : to, document.baseURI).pathname);
  const { fetch, fetchLater } = globalThis;
  let isEnding = false;
  // The page's own listeners come after this one.
  for (const end of ['beforeunload', 'pagehide']) addEventListener(end, () => (isEnding = true), { capture: true });
  const { sendBeacon } = Navigator.prototype;
  globalThis.fetch = (to, more) => {
    if (!isDoor(to)) return fetch(to, more);
    return isEnding ? Promise.reject(new TypeError('Failed to fetch')) : fetch(to, { ...more, keepalive: false });
  };
  Navigator.prototype.sendBeacon = function (to, ...more) {
    return isDoor(to) || sendBeacon.call(this, to, ...more);
  };
  if (fetchLater) globalThis.fetchLater = (to, more) => (isDoor(to) ? { activated: false } : fetchLater(to, more));
}

/** Bytes that the page's JavaScript holds, without garbage. */
export async function memoryOf({ page, context }) {
  const session = await context.newCDPSession(page);
  try {
    // What only weak references hold goes with the second collection.
    await session.send('HeapProfiler.collectGarbage');
    await session.send('HeapProfiler.collectGarbage');
    return (await session.send('Runtime.getHeapUsage')).usedSize;
  } finally {
    await session.detach().catch(() => {});
  }
}

/** Waits until a service worker answers the page. Without one the page would not load offline. */
export const untilServiceWorker = ({ page }) =>
  page.evaluate(async () => {
    if (!navigator.serviceWorker) throw new Error('this page cannot have a service worker: it needs https or localhost');
    await navigator.serviceWorker.ready;
    if (!navigator.serviceWorker.controller) await new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }));
  });
