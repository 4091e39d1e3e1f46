import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { FAMILIES } from '../src/metrics.mjs';

test('docs/probes.md lists every series as it is', () => {
  const page = readFileSync(new URL('../../docs/probes.md', import.meta.url), 'utf8');
  const rows = FAMILIES.map(([name, type, help, labels]) => `| \`${name}\` | ${type} | ${labels.join(', ')} | ${help} |`);
  assert.ok(page.includes(`\n${rows.join('\n')}\n\n`), rows.join('\n'));
});
