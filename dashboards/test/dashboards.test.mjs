// What can be said of the dashboards without a Grafana: they are what the code makes, and they keep the rules.
// Each rule is also broken once, so that it is known to bite.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';

import { lint } from '../lib/lint.mjs';

const folder = new URL('../json/', import.meta.url);
const read = () => Object.fromEntries(readdirSync(folder).map((name) => [name, JSON.parse(readFileSync(new URL(name, folder), 'utf8'))]));
const catalogue = JSON.parse(readFileSync(new URL('../src/catalogue.json', import.meta.url), 'utf8')).metrics;

test('the JSON is what the code makes', () => {
  execFileSync(process.execPath, [new URL('../build.mjs', import.meta.url).pathname, '--check'], { stdio: 'pipe' });
});

test('all seven dashboards are there', () => {
  const wanted = ['fleet', 'pipeline', 'releases', 'store', 'sync', 'terminal', 'web-vitals'].map((name) => `tillwatch-${name}.json`);
  assert.deepEqual(readdirSync(folder).sort(), wanted);
});

test('the dashboards keep every rule', () => {
  assert.deepEqual(lint(read(), catalogue), []);
});

test('every metric of the catalogue is on a dashboard', () => {
  const text = Object.keys(read()).map((name) => readFileSync(new URL(name, folder), 'utf8')).join();
  const names = ({ name, prometheus }) => [name, prometheus, prometheus.replace('pos_', 'pos_release_'), prometheus.replace(/_seconds$/, '_window')];
  const missing = catalogue.filter((metric) => !names(metric).some((name) => text.includes(name)));
  assert.deepEqual(missing.map(({ name }) => name), []);
});

test('every dashboard has a picture that docs/dashboards.md shows', () => {
  const page = readFileSync(new URL('../../docs/dashboards.md', import.meta.url), 'utf8');
  for (const name of Object.keys(read()).map((file) => file.replace('.json', '.png'))) {
    assert.ok(page.includes(`(pictures/${name})`), `docs/dashboards.md does not show ${name}`);
    const bytes = readFileSync(new URL(`../../docs/pictures/${name}`, import.meta.url));
    assert.equal(bytes.subarray(1, 4).toString(), 'PNG');
    assert.ok(bytes.length < 500_000, `${name} has ${bytes.length} bytes`);
  }
});

test('provisioning brings a data source of each kind the dashboards ask for', () => {
  const provisioned = ['prometheus', 'clickhouse'].map((name) => /^ {4}type: (.+)$/m.exec(readFileSync(new URL(`../provisioning/datasources/${name}.yml`, import.meta.url), 'utf8'))[1]);
  for (const { templating } of Object.values(read())) {
    assert.deepEqual(templating.list.filter(({ type }) => type === 'datasource').map(({ query }) => query), provisioned);
  }
});

/** The first panel that has what is looked for. */
const panelWith = (dashboards, has) => Object.values(dashboards).flatMap(({ panels }) => panels).find((panel) => panel.type !== 'row' && has(panel));
const withPromql = (text) => (dashboards) => panelWith(dashboards, ({ targets }) => targets?.[0].expr?.includes(text)).targets[0];
const change = (find, from, to) => (dashboards) => {
  const target = find(dashboards);
  assert.ok(target.expr.includes(from), `${from} is not in ${target.expr}`);
  target.expr = target.expr.replace(from, to);
};
const fleet = (dashboards) => dashboards['tillwatch-fleet.json'];

const BROKEN = [
  ['uneditable-dashboard', (all) => (fleet(all).editable = true)],
  ['uid', (all) => (fleet(all).uid = 'tillwatch-store')],
  ['tags', (all) => (fleet(all).tags = [])],
  ['template-datasource-rule', (all) => (fleet(all).templating.list[0].label = 'Source')],
  ['template-job-rule', (all) => (fleet(all).templating.list.find(({ name }) => name === 'job').allValue = '.*')],
  ['template-instance-rule', (all) => (fleet(all).templating.list.find(({ name }) => name === 'instance').multi = false)],
  ['template-on-time-change-reload-rule', (all) => (fleet(all).templating.list.find(({ name }) => name === 'job').refresh = 1)],
  ['template-label-promql-rule', (all) => (fleet(all).templating.list.find(({ name }) => name === 'job').query.query = 'label_values(')],
  ['panel-id', (all) => (fleet(all).panels[1].id = fleet(all).panels[0].id)],
  ['grid', (all) => (fleet(all).panels[1].gridPos = fleet(all).panels[0].gridPos)],
  ['grid', (all) => (fleet(all).panels[0].gridPos.w = 25)],
  ['panel-title-description-rule', (all) => (fleet(all).panels[0].description = '')],
  ['panel-title-description-rule', (all) => (fleet(all).panels[0].title = '')],
  ['panel-datasource-rule', (all) => (fleet(all).panels[0].datasource.uid = 'P123')],
  ['panel-no-targets-rule', (all) => (fleet(all).panels[0].targets = [])],
  ['panel-units-rule', (all) => (fleet(all).panels[3].fieldConfig.defaults.unit = 'parsecs')],
  ['threshold', (all) => (fleet(all).panels[3].fieldConfig.defaults.thresholds.steps[1].value = 1.6)],
  ['target-rate-interval-rule', change(withPromql('rate(pos_sync_duration_seconds_bucket'), '[$__rate_interval]', '[5m]')],
  ['target-job-rule', change(withPromql('pos_sync_duration_seconds_bucket'), 'job=~"$job", ', '')],
  ['target-job-rule', change(withPromql('tillwatch_clickhouse_up{'), 'tillwatch_clickhouse_up', 'pos_terminals_reporting')],
  ['target-instance-rule', change(withPromql('pos_sync_duration_seconds_bucket'), ', instance=~"$instance"', '')],
  ['target-job-rule', change(withPromql('tillwatch_rollout_reason{'), 'reason{', 'reason{job=~"$job", ')],
  ['target-instance-rule', change(withPromql('tillwatch_rollout_reason{'), 'instance=~"$instance"', 'instance!=""')],
  ['target-counter-agg-rule', change(withPromql('sum(increase(pos_data_loss_incidents_total'), '[$__range]', '')],
  ['target-promql-rule', change(withPromql('pos_sync_duration_seconds_bucket'), 'histogram_quantile(', 'histogram_quantile((')],
  ['metric', change(withPromql('pos_sync_duration_seconds_bucket'), 'pos_sync_duration_seconds', 'pos_sync_time_seconds')],
  ['label', change(withPromql('pos_sync_attempts_total'), 'result=', 'outcome=')],
  ['label', change(withPromql('by (store_id)'), 'by (store_id)', 'by (terminal_id)')],
  ['table', (all) => (panelWith(all, ({ targets }) => targets?.[0].rawSql).targets[0].rawSql = "SELECT 1 FROM rollups WHERE source = 'rum' AND $__timeFilter(window_start)")],
  ['time-filter', (all) => (panelWith(all, ({ targets }) => targets?.[0].rawSql).targets[0].rawSql = "SELECT 1 FROM v_rollup_1m WHERE source = 'rum'")],
  ['source', (all) => (panelWith(all, ({ targets }) => targets?.[0].rawSql).targets[0].rawSql = 'SELECT 1 FROM v_rollup_1m WHERE $__timeFilter(window_start)')],
  ['variable', change(withPromql('pos_sync_duration_seconds_bucket'), '[$__rate_interval]', '[$window]')],
  ['link', (all) => (panelWith(all, ({ links }) => links).links[0].url = '/d/tillwatch-shop?x=1')],
  ['link', (all) => (panelWith(all, ({ links }) => links).links[0].url = '/d/tillwatch-sync?var-shop_id=1')],
];

for (const [rule, break_] of BROKEN) {
  test(`a dashboard that breaks ${rule} is found`, () => {
    const dashboards = read();
    break_(dashboards);
    const found = lint(dashboards, catalogue);
    assert.ok(found.some((fault) => fault.startsWith(`${rule}:`)), `found only: ${found.join('\n')}`);
  });
}
