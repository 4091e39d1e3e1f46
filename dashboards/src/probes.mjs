// The row that shows what probes found. A probe serves these series itself, under a job of its own, so no board's job and
// instance are asked for.

import * as g from './grafana.mjs';
import { PROBE_RESULTS } from './limits.mjs';

/** The row, for series that match. */
export function probeRow(...matchers) {
  const of = (name, ...more) => `pos_synthetic_${name}${[...matchers, ...more].length ? `{${[...matchers, ...more].join(', ')}}` : ''}`;
  const by = matchers.length ? 'scenario' : 'store_id, scenario';
  const name = matchers.length ? '{{scenario}}' : '{{store_id}} {{scenario}}';
  const share = (unit) => `max by (${by}, measure) (${of(`measured_${unit}`)} / ${of(`limit_${unit}`)})`;
  return [
    g.row('Probes'),
    g.stateTimeline({
      title: 'Scenarios of probes',
      description: 'One band for each scenario, by its last run: green is ok, amber is over a limit, red is failed. Red while people fare well: the scenario no longer fits the page, or the probe\'s machine has no line. Without a band, no probe runs (docs/probes.md).',
      targets: [g.prom(`max by (${by}) (${of('last_run_result', 'result="over_limit"')}) + 2 * max by (${by}) (${of('last_run_result', 'result="failed"')})`, name)],
      thresholds: g.higherIsWorse(PROBE_RESULTS),
      decimals: 0,
      w: 8,
      h: 8,
    }),
    g.timeseries({
      title: 'What probes measured, of what it may be',
      description: 'Durations and memory of the last run over their limits in the scenario; over 100 % an alert says so. Rising with the same release and the same probe: look at the server behind the page. These are no values of real users.',
      targets: [g.prom(share('seconds'), `${name} {{measure}}`), g.prom(share('bytes'), `${name} {{measure}}`)],
      unit: 'percentunit',
      softMax: 1,
      thresholds: g.higherIsWorse([1], 'transparent'),
      showThresholds: true,
      w: 8,
    }),
    g.timeseries({
      title: 'Since the last run of a probe',
      description: 'How long ago each scenario last ended, and twice the interval at which it should: above that line nobody watches what it watched. See whether the probe\'s process lives and what its log says.',
      targets: [g.prom(`time() - max by (${by}) (${of('last_run_timestamp_seconds')})`, name), g.prom(`2 * max(${of('interval_seconds')})`, 'twice the interval')],
      unit: 's',
      overrides: [g.colour('twice the interval', g.HUES[4])],
      w: 8,
    }),
  ];
}
