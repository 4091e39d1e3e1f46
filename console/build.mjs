#!/usr/bin/env node
// Builds dist/ from src/. `--check` only says what would differ.
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { brotliCompressSync, brotliDecompressSync, constants, gunzipSync } from 'node:zlib';
import zopfli from '@gfx/zopfli';
import { build } from 'esbuild';
import { minify } from 'terser';

const here = new URL('.', import.meta.url).pathname;
const isCheck = process.argv.includes('--check');
// What all files of the page may weigh with gzip, in bytes.
const MOST = 60_000;
const TYPES = { html: 'text/html; charset=utf-8', js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8', svg: 'image/svg+xml' };

execFileSync(here + 'node_modules/.bin/tsc', ['--noEmit'], { cwd: here, stdio: 'inherit' });

const bundled = async (entry, shared) => {
  const { outputFiles } = await build({
    entryPoints: [entry], absWorkingDir: here, bundle: true, minify: true, write: false, format: 'esm', target: entry.endsWith('.css') ? 'chrome123' : 'es2022', charset: 'utf8', legalComments: 'none',
    tsconfigRaw: { compilerOptions: { jsx: 'react', jsxFactory: 'h', jsxFragmentFactory: 'Fragment' } }, inject: entry.endsWith('.tsx') ? ['src/jsx.ts'] : [], define: { 'process.env.NODE_ENV': '"production"', ...(shared && { WORKER: JSON.stringify(shared) }) },
    plugins: shared ? [{ name: 'shared', setup: (of) => of.onResolve({ filter: /^\.\.?\/(live|stream)$/ }, () => ({ path: './' + shared, external: true })) }] : [],
  });
  const { text } = outputFiles[0];
  if (entry.endsWith('.css')) return Buffer.from(text);
  // It looks further than esbuild, which makes the scripts three in a hundred smaller. A getter is never pure here: to read a signal is to listen to it.
  const { code } = await minify(text, { module: true, ecma: 2022, compress: { passes: 3, ecma: 2022, unsafe_arrows: true }, format: { ecma: 2022 } });
  return Buffer.from(code);
};
const files = new Map();
const hashed = (name, end, content) => {
  const hash = createHash('sha256').update(content).digest('hex').slice(0, 10);
  const full = `${name}-${hash}.${end}`;
  files.set(full, content);
  return full;
};
// The page names the worker by its hash, so that pages of two releases never share one. It takes what both need from the same file.
const worker = hashed('worker', 'js', await bundled('src/worker.ts'));
const script = hashed('app', 'js', await bundled('src/main.tsx', worker));
const style = hashed('app', 'css', await bundled('src/style.css'));
const icon = hashed('icon', 'svg', readFileSync(here + 'src/icon.svg'));
const page = readFileSync(here + 'src/index.html', 'utf8').replace('SCRIPT', script).replace('WORKER', worker).replace('STYLE', style).replace('ICON', icon);
files.set('index.html', Buffer.from(page));

// Three in a hundred smaller than zlib makes it. The header of gzip has no time, and should name no system.
const gzip = async (content) => { const packed = Buffer.from(await zopfli.gzipAsync(content, { numiterations: 15 })); packed[9] = 255; return packed; };
const brotli = (content) => brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: content.length } });

const out = new Map();
const list = [];
let [total, totalBrotli] = [0, 0];
for (const [name, content] of [...files].sort(([one], [other]) => (one < other ? -1 : 1))) {
  const packed = { '': content, '.gz': await gzip(content), '.br': brotli(content) };
  for (const [end, bytes] of Object.entries(packed)) out.set(name + end, bytes);
  // A name with a hash never means other bytes, so whoever has it may keep it.
  list.push({ name, content_type: TYPES[name.split('.').pop()], is_immutable: name !== 'index.html', encodings: ['gzip', 'br'] });
  total += packed['.gz'].length;
  totalBrotli += packed['.br'].length;
  console.log(`${name}: ${content.length} bytes, ${packed['.gz'].length} with gzip, ${packed['.br'].length} with brotli`);
}
out.set('files.json', Buffer.from(JSON.stringify({ views: ['', 'store', 'terminal', 'releases', 'errors', 'lost', 'query', 'pipeline', 'probes', 'settings'], files: list }, null, 2) + '\n'));
console.log(`all: ${total} bytes with gzip (at most ${MOST}), ${totalBrotli} with brotli`);

const dist = here + 'dist/';
mkdirSync(dist, { recursive: true });
const differing = [];
// Releases of Node pack a little differently, so what counts is what comes out.
const unpacked = (name, bytes) => {
  try { return name.endsWith('.gz') ? gunzipSync(bytes) : name.endsWith('.br') ? brotliDecompressSync(bytes) : bytes; } catch { return Buffer.alloc(0); }
};
for (const [name, bytes] of out) {
  if (existsSync(dist + name) && unpacked(name, readFileSync(dist + name)).equals(unpacked(name, bytes))) continue;
  differing.push(name);
  if (!isCheck) writeFileSync(dist + name, bytes);
}
for (const name of readdirSync(dist).filter((one) => !out.has(one))) {
  differing.push(name);
  if (!isCheck) rmSync(dist + name);
}
if (total > MOST) { console.error('The files are larger than they may be.'); process.exit(1); }
if (isCheck && differing.length) {
  console.error(`Not as build.mjs makes them: ${differing.join(', ')}. Run \`node build.mjs\` in console/.`);
  process.exit(1);
}
