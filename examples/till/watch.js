'use strict';

/** What page and service worker tell tillwatch about themselves; it must be the same, so that they share one queue. */
async function watchOptions() {
  let terminal = await store.setting('terminal');
  if (!terminal) {
    // Here each browser is a till of its own. A real shop gives its tills names.
    terminal = 'till-' + crypto.getRandomValues(new Uint16Array(1))[0].toString(16).padStart(4, '0');
    await store.keepSetting('terminal', terminal);
  }
  return {
    // The shop's server passes /v1 on to the collector, so that no other origin is involved.
    url: location.origin,
    store: 'corner-shop',
    terminal,
    release: '1.0.0',
    consent: (await store.setting('consent')) ?? true,
    // A real till leaves this at a minute; whoever tries this wants to see something sooner.
    interval: 6000,
  };
}
