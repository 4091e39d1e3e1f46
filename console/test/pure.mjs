// The pure parts of the page, bundled for Node.
import { build } from 'esbuild';

export async function pure(name) {
  const { outputFiles } = await build({ entryPoints: [new URL(`../src/${name}.ts`, import.meta.url).pathname], bundle: true, write: false, format: 'esm', platform: 'node', target: 'node20' });
  return import('data:text/javascript;base64,' + Buffer.from(outputFiles[0].contents).toString('base64'));
}
