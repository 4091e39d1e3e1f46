#!/usr/bin/env node
// Builds dist/ from src/, and src/catalogue.ts from the catalogue of metrics. `--check` only says what would change.
import { readFileSync, writeFileSync, mkdirSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { bundled } from './minify/bundle.mjs';
import { printed, shapeOf } from './minify/shape.mjs';
import { sizeOf } from './minify/size.mjs';

const here = new URL('.', import.meta.url).pathname;
const isCheck = process.argv.includes('--check');
const differing = [];

const write = (path, text) => {
  const file = here + path;
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return;
  differing.push(path);
  if (!isCheck) writeFileSync(file, text);
};

// --- the catalogue, as short as it can be said
const { metrics } = JSON.parse(readFileSync(here + '../dashboards/src/catalogue.json', 'utf8'));
// What the collector counts of events, drops and summaries is not for pages to count.
const DERIVED = ['events', 'dropped_samples', 'summaries'];
const named = (kind) => metrics.filter((metric) => metric.kind === kind && !DERIVED.includes(metric.name));
const names = (kind) => named(kind).map(({ name }) => name).join(' ');
const counters = named('counter').map(({ name, label }) => (label ? `${name}:${label.values.join(',')}` : name));
write('src/catalogue.ts', `// Made by build.mjs from the collector's catalogue of metrics; do not edit.
export const DISTRIBUTIONS =
  '${names('distribution')}';
export const LEVELS = '${names('level')}';
/** With the values of the label, if there is one. */
export const COUNTERS =
  '${counters.join(' ')}';
`);

// --- the files
mkdirSync(here + 'dist', { recursive: true });
const { version } = JSON.parse(readFileSync(here + 'package.json', 'utf8'));
const choices = JSON.parse(readFileSync(here + 'minify/choices.json', 'utf8'));

// What each may weigh with gzip, in bytes: docs/adr/0023 says why.
const bundles = [
  ['tillwatch.mjs', 'index', 8_000],
  ['tillwatch.js', 'classic', 8_000],
  ['tillwatch-lite.mjs', 'lite', 7_150],
  ['tillwatch-worker.js', 'worker', 7_150],
];
let isTooLarge = false;
for (const [name, entry, limit] of bundles) {
  const isModule = name.endsWith('.mjs');
  const code = printed(shapeOf(await bundled(`src/${entry}.ts`)), choices[entry] || choices[isModule ? 'index' : 'classic']);
  const text = (isModule ? code : `(()=>{${code}})();`) + '\n';
  write('dist/' + name, text);
  const size = sizeOf(text);
  isTooLarge ||= size > limit;
  console.log(`${name}: ${text.length} bytes, ${size} with gzip (at most ${limit})`);
}
const classic = readFileSync(here + 'dist/tillwatch.js');
const integrity = 'sha384-' + createHash('sha384').update(classic).digest('base64');
write('dist/integrity.json', JSON.stringify({ version, integrity }, null, 2) + '\n');

// --- the types
const types = here + 'build';
execFileSync(here + 'node_modules/.bin/tsc', ['--declaration', '--emitDeclarationOnly', '--noEmit', 'false', '--outDir', types], { cwd: here, stdio: 'inherit' });
for (const file of readdirSync(types).filter((name) => name.endsWith('.d.ts'))) write('dist/' + file, readFileSync(`${types}/${file}`, 'utf8'));
rmSync(types, { recursive: true });

if (isTooLarge) { console.error('A bundle is larger than it may be.'); process.exit(1); }
if (isCheck && differing.length) {
  console.error(`Not as build.mjs makes them: ${differing.join(', ')}. Run \`node build.mjs\` in sdk/.`);
  process.exit(1);
}
