// One file of all that an entry needs, as short as tools make it that do not choose names.
import { readFileSync } from 'node:fs';
import { build } from 'esbuild';
import { minify } from 'terser';

const root = new URL('..', import.meta.url).pathname;
const { version } = JSON.parse(readFileSync(root + 'package.json', 'utf8'));

export async function bundled(entry) {
  const { outputFiles } = await build({
    entryPoints: [entry], absWorkingDir: root, bundle: true, write: false, format: 'esm', target: 'es2022', charset: 'utf8',
    minifySyntax: true, minifyWhitespace: true, legalComments: 'none', define: { VERSION: JSON.stringify(version) },
  });
  const { code } = await minify(outputFiles[0].text, {
    ecma: 2020, module: true, mangle: false, compress: { passes: 3, pure_getters: true, unsafe_arrows: true },
  });
  // Nothing of it compares values of different types, for which `==` would be another question.
  return code.replace(/([!=])==/g, '$1=');
}
