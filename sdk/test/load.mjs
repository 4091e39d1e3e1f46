// The library's parts, as modules of Node.
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const sdk = new URL('..', import.meta.url).pathname;

/** Imports parts of the library together, so that they share what they keep. */
export async function load(...parts) {
  const out = mkdtempSync(join(sdk, 'build-'));
  try {
    const contents = parts.map((part) => `export * from './src/${part}';`).join('\n');
    await build({
      stdin: { contents, resolveDir: sdk, loader: 'ts' }, bundle: true, format: 'esm', platform: 'neutral',
      outfile: join(out, 'parts.mjs'), define: { VERSION: '"test"' }, mainFields: ['module', 'main'], logLevel: 'error',
    });
    return await import(join(out, 'parts.mjs'));
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}
