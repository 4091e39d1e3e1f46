// Chromium, and a page in it that posts nothing to tillwatch.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { isDoor } from './doors.mjs';

const PLACES = ['/usr/bin/chromium', '/usr/bin/google-chrome', '/usr/bin/chromium-browser', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'];
const FLAGS = ['--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const LAUNCH_MS = 60_000;

export class NoBrowser extends Error {}

export async function launch(path = process.env.CHROMIUM) {
  const executablePath = path || PLACES.find((place) => existsSync(place));
  if (!executablePath) throw new NoBrowser('Chromium is missing: install it, or name it with --browser or CHROMIUM');
  // Chromium's sandbox does not work for root, and a probe should not be root anyway.
  const args = process.getuid?.() === 0 ? [...FLAGS, '--no-sandbox'] : FLAGS;
  try {
    return await chromium.launch({ executablePath, headless: true, args, timeout: LAUNCH_MS, handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false });
  } catch (error) {
    throw new NoBrowser(`${executablePath} does not start: ${error.message.split('\n')[0]}`);
  }
}

/**
 * A page as a new till has it. Its library believes that a person is using it, so what it posts would count as that of
 * real users: whatever the page, its workers or its end send to a door of tillwatch is held back.
 */
export async function openPage(browser, held) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  let heldBack = 0;
  await context.route(
    (url) => isDoor(url.pathname, held),
    (route) => {
      if (route.request().method() !== 'POST') return route.fallback();
      heldBack += 1;
      return route.abort('blockedbyclient');
    },
  );
  // These two outlive the page, and no route sees what is sent then.
  await context.addInitScript(() => {
    delete globalThis.fetchLater;
    Navigator.prototype.sendBeacon = () => true;
  });
  const page = await context.newPage();
  return {
    page,
    context,
    heldBack: () => heldBack,
    /** Ends it. Offline first, so that nothing that a page does at its end can leave. */
    async close() {
      await context.setOffline(true).catch(() => {});
      await context.close().catch(() => {});
    },
  };
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
