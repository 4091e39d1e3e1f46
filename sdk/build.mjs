#!/usr/bin/env node
// Builds dist/ from src/, and src/catalogue.ts from the catalogue of metrics. `--check` only says what would change.
import { readFileSync, writeFileSync, mkdirSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { execFileSync } from 'node:child_process';
import { build } from 'esbuild';
import { minify } from 'terser';

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
const named = (kind) => metrics.filter((metric) => metric.kind === kind);
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
const common = {
  bundle: true, format: 'esm', minifySyntax: true, minifyWhitespace: true, target: 'es2022', charset: 'utf8', legalComments: 'none', write: false,
  define: { VERSION: JSON.stringify(version) }, absWorkingDir: here,
};
const banner = `/* tillwatch terminal ${version}, Apache-2.0 */\n`;

// Terser gives the shortest names to what it meets first; here what is used most gets them. The first letters are left to
// parameters, so that these have the same names in all functions, which gzip likes.
const LEFT = 5;
const LETTERS = [...'etnaosrilcfumdhpwygbvk_xqzMSOjDEBLNPTCAIJRKUFHQVGWXYZ$'];
const NAMES = [...LETTERS.slice(LEFT), ...LETTERS.flatMap((one) => LETTERS.map((other) => one + other)).filter((name) => !/^(do|if|in)$/.test(name))];
async function minified(text) {
  const options = { ecma: 2020, module: true };
  const compress = { passes: 3, pure_getters: true, unsafe_arrows: true };
  const { code } = await minify(text, { ...options, compress, mangle: false });
  const nameCache = {};
  await minify(code, { ...options, compress: false, nameCache });
  const words = code.match(/[\w$]+/g);
  const uses = (name) => words.filter((word) => '$' + word === name).length;
  const byUse = Object.keys(nameCache.vars.props).map((name) => [name, uses(name)]).sort(([, one], [, other]) => other - one);
  nameCache.vars.props = Object.fromEntries(byUse.map(([name], n) => [name, NAMES[n]]));
  return (await minify(code, { ...options, compress: false, nameCache })).code;
}

// What each may weigh with gzip, in bytes: docs/adr/0023 says why.
const bundles = [
  ['tillwatch.mjs', 'src/index.ts', true, 9_190],
  ['tillwatch.js', 'src/classic.ts', false, 9_155],
  ['tillwatch-lite.mjs', 'src/lite.ts', true, 8_095],
  ['tillwatch-worker.js', 'src/worker.ts', false, 8_090],
];
let isTooLarge = false;
for (const [name, entry, isModule, limit] of bundles) {
  const { outputFiles } = await build({ ...common, entryPoints: [entry] });
  const code = await minified(outputFiles[0].text);
  const text = banner + (isModule ? code : `(()=>{${code}})();`) + '\n';
  write('dist/' + name, text);
  const size = gzipSync(text, { level: 9 }).length;
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
