#!/usr/bin/env node
// Checks the dashboards against Grafana's own types (@grafana/schema): the dashboard, and each panel's options and
// field options against those of its kind. Unknown keys and wrong types are errors. `make test-stack` calls it.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const HERE = import.meta.dirname;
// By path: the package does not export these.
const RAW = '../@grafana/schema/dist/types/raw';
const KINDS = {
  stat: ['stat'],
  bargauge: ['bargauge'],
  timeseries: ['timeseries', 'FieldConfig'],
  table: ['table', 'FieldConfig'],
  heatmap: ['heatmap', 'FieldConfig'],
  'state-timeline': ['statetimeline', 'FieldConfig'],
};
const PROMETHEUS_ANNOTATION = ['expr', 'step', 'titleFormat', 'textFormat', 'tagKeys', 'useValueForTime'];
/** Enumerations are strings in JSON: a literal is right when it is one of the values. */
const LOOSE = `type Loose<T> = T extends string ? \`\${T}\` : T extends number | boolean | null | undefined ? T : T extends (infer U)[] ? Loose<U>[] : T extends object ? { [K in keyof T]: Loose<T[K]> } : T;\n`;
if (!existsSync(join(HERE, 'node_modules/typescript'))) {
  execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: HERE, stdio: 'inherit' });
}

const build = join(HERE, 'node_modules/.tillwatch');
rmSync(build, { recursive: true, force: true });
mkdirSync(build, { recursive: true });
let panels = 0;
const imports = Object.entries(KINDS)
  .map(([kind, [folder, ...fields]]) => {
    const name = kind.replace('-', '_');
    return `import type { Options as ${name}_options${fields.length > 0 ? `, FieldConfig as ${name}_custom` : ''} } from '${RAW}/composable/${folder}/panelcfg/x/types.gen';`;
  })
  .join('\n');
const files = readdirSync(join(HERE, 'json')).map((file) => {
  const dashboard = JSON.parse(readFileSync(join(HERE, 'json', file), 'utf8'));
  const checks = [];
  // What a data source adds to an annotation is its own.
  for (const annotation of dashboard.annotations.list) for (const key of PROMETHEUS_ANNOTATION) delete annotation[key];
  for (const panel of dashboard.panels) {
    if (!(panel.type in KINDS)) continue;
    panels += 1;
    const name = panel.type.replace('-', '_');
    checks.push(`export const options_${panel.id} = ${JSON.stringify(panel.options)} satisfies Partial<Loose<${name}_options>>;`);
    const { custom } = panel.fieldConfig.defaults;
    if (custom && KINDS[panel.type][1]) checks.push(`export const custom_${panel.id} = ${JSON.stringify(custom)} satisfies Loose<Partial<${name}_custom>>;`);
    // Typed as objects, although names and numbers are what Grafana itself saves.
    for (const override of panel.fieldConfig.overrides) override.matcher.options = {};
    for (const override of panel.fieldConfig.overrides) override.properties = override.properties.map(({ id }) => ({ id, value: {} }));
  }
  const text = `import type { Dashboard } from '${RAW}/dashboard/x/types.gen';\n${imports}\n${LOOSE}
export const dashboard = ${JSON.stringify(dashboard, null, 2)} satisfies Loose<Dashboard>;\n${checks.join('\n')}\n`;
  const path = join(build, file.replace('.json', '.ts'));
  writeFileSync(path, text);
  return path;
});
const flags = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'esnext', '--moduleResolution', 'bundler', '--target', 'es2022', '--types', 'node', '--pretty', 'false'];
try {
  execFileSync(join(HERE, 'node_modules/.bin/tsc'), [...flags, ...files], { cwd: HERE, stdio: 'pipe', encoding: 'utf8' });
} catch (error) {
  console.error(error.stdout || error.message);
  process.exit(1);
}
console.log(`dashboards: ${files.length} dashboards and ${panels} panels fit Grafana's types`);
