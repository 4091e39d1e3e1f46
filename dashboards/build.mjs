#!/usr/bin/env node
// Writes dashboards/json/*.json from dashboards/src. With --check it writes nothing and fails when they differ.

import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';

import { dashboards } from './src/index.mjs';

const folder = new URL('json/', import.meta.url);
const made = Object.entries(dashboards()).map(([name, content]) => [name, `${JSON.stringify(content, null, 2)}\n`]);
const kept = () => {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
};

if (process.argv.includes('--check')) {
  const read = (name) => (kept().includes(name) ? readFileSync(new URL(name, folder), 'utf8') : '');
  const wrong = made.filter(([name, text]) => read(name) !== text).map(([name]) => name);
  const strange = kept().filter((name) => !made.some(([known]) => known === name));
  if (wrong.length + strange.length > 0) {
    console.error(`dashboards/json differs from dashboards/src: ${[...wrong, ...strange].join(', ')}. Run node dashboards/build.mjs`);
    process.exit(1);
  }
} else {
  mkdirSync(folder, { recursive: true });
  for (const name of kept()) rmSync(new URL(name, folder));
  for (const [name, text] of made) writeFileSync(new URL(name, folder), text);
  console.log(`${made.length} dashboards, ${made.reduce((sum, [, text]) => sum + JSON.parse(text).panels.filter((panel) => panel.type !== 'row').length, 0)} panels`);
}
