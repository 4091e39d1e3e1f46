/** For a service worker: `importScripts` this file, then `tillwatch.init({ … })` as in the page. */
export {};
