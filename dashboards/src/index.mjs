// All dashboards, by the name of their file.

import fleet from './boards/fleet.mjs';
import pipeline from './boards/pipeline.mjs';
import releases from './boards/releases.mjs';
import store from './boards/store.mjs';
import sync from './boards/sync.mjs';
import terminal from './boards/terminal.mjs';
import webVitals from './boards/web_vitals.mjs';

export const dashboards = () =>
  Object.fromEntries([fleet, store, terminal, webVitals, sync, releases, pipeline].map((make) => make()).map((made) => [`${made.uid}.json`, made]));
