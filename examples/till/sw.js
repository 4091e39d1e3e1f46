'use strict';

// Lets the till load and show its products without a network, and counts what its cache had.
importScripts('/tillwatch-worker.js', '/store.js', '/watch.js');

const CACHE = 'corner-shop-1';
const SHELL = ['/', '/till.css', '/store.js', '/watch.js', '/till.js', '/tillwatch.js', '/icon.svg'];
const PRODUCTS = '/api/products';

tillwatch.measureCaches();
addEventListener('error', (event) => tillwatch.error(event.error || event));

/** As the page, but `auto: false`: the page measures already what the two of them share. */
async function beginToWatch() {
  const options = await watchOptions();
  if (options.consent) tillwatch.init({ ...options, auto: false });
}
const begun = beginToWatch();

addEventListener('install', (event) => {
  skipWaiting();
  event.waitUntil(
    (async () => {
      const cache = await caches.open(CACHE);
      // Past the browser's own cache, or a new worker might keep an old page.
      await cache.addAll([...SHELL, PRODUCTS].map((path) => new Request(path, { cache: 'reload' })));
      const products = await (await fetch(PRODUCTS)).json();
      await cache.addAll(products.map(({ image }) => image));
    })(),
  );
});

addEventListener('activate', (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name !== CACHE) await caches.delete(name);
      await clients.claim();
    })(),
  );
});

// The page says so when consent is given again: this worker may have been without for its whole life.
addEventListener('message', (event) => {
  if (event.data === 'consent') event.waitUntil(beginToWatch());
});

addEventListener('fetch', (event) => {
  const { method, url } = event.request;
  const { origin, pathname } = new URL(url);
  if (method !== 'GET' || origin !== location.origin) return;
  const isImage = pathname.startsWith('/images/');
  if (isImage || pathname === PRODUCTS || SHELL.includes(pathname)) event.respondWith(answer(event, pathname, isImage));
});

/** Answers from the cache at once; what may change is renewed behind the answer, for the next time. */
async function answer(event, pathname, isFixed) {
  await begun;
  const cache = await caches.open(CACHE);
  const cached = await cache.match(pathname);
  if (cached && isFixed) return cached;
  const renewed = fetch(pathname).then(async (response) => {
    if (response.ok) await cache.put(pathname, response.clone());
    return response;
  });
  if (!cached) return renewed;
  event.waitUntil(renewed.catch(() => {}));
  return cached;
}
