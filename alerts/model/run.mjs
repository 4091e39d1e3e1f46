#!/usr/bin/env node
// Prints what the chosen rules do in the model: false lines of healthy fleets, and the time to a page.
//   node alerts/model/run.mjs [--days N] [--releases]     fleet-days for each number of false lines; 50 take about eight minutes.
//                                                         --releases: only what is asked of the alerts on releases

import { parseArgs } from 'node:util';

import { falseAnomalies, foundAnomalies } from './anomaly.mjs';
import { HOURS, PAGE, WARN } from './chosen.mjs';
import { HEALTHY, STORES, falseLines, fleetGoesBad, timeToNotice } from './experiments.mjs';
import { LOGINS, SYNCS, errorsOf, releaseAlerts } from './release.mjs';

const { values } = parseArgs({ options: { days: { type: 'string', default: '50' }, releases: { type: 'boolean' } } });
const days = Number(values.days);
const minutes = (value) => (value === Infinity ? '–' : value.toFixed(1));
const heading = (...cells) => console.log(`| ${cells.join(' | ')} |\n|${cells.map(() => '---').join('|')}|`);
const line = (...cells) => console.log(`| ${cells.join(' | ')} |`);

function stores() {
  console.log(`False lines a day of 200 healthy stores, ${HEALTHY * 100} % of attempts fail; ${days} days each\n`);
  heading('attempts an hour', 'tills', 'failures', 'pages', 'warnings of failures', 'warnings of slow ones');
  for (const store of STORES) {
    for (const inThrees of [false, true]) {
      const lines = falseLines([PAGE, WARN, HOURS], store, { inThrees, days, seed: 1 });
      line(store.perHour, store.tills, inThrees ? 'in threes' : 'alone', ...lines.map((count) => count.toFixed(2)));
    }
  }

  console.log('\nMinutes from the onset to the notification of one store: median, nine of ten\n');
  heading('attempts an hour', 'bad attempts', 'page', 'warning');
  for (const store of STORES) {
    for (const bad of [0.05, 0.1, 0.3, 0.6, 1]) {
      const [page, warning] = [PAGE, WARN].map((rule) => timeToNotice(rule, store, { bad, runs: 200, hours: 12, seed: 7 }));
      line(store.perHour, `${bad * 100} %`, `${minutes(page.median)}, ${minutes(page.ninetieth)}`, `${minutes(warning.median)}, ${minutes(warning.ninetieth)}`);
    }
  }

  console.log('\nMany stores at once: minutes to the page of the fleet (median), and runs of 20 in which a store was paged before\n');
  heading('attempts an hour', 'bad attempts', 'bad stores', 'fleet', 'store paged before');
  for (const store of STORES) {
    for (const bad of [0.3, 1]) {
      for (const [badStores, stores] of [[50, 60], [50, 200]]) {
        const { median, early } = fleetGoesBad(PAGE, store, { badStores, stores, bad, runs: 20, seed: 11 });
        line(store.perHour, `${bad * 100} %`, `${badStores} of ${stores}`, minutes(median), early);
      }
    }
  }

  console.log('\nUnusual stores: false lines a day of 200 healthy stores (failures alone, in threes), and of 20 of 200 whose odds become 3 and 10 times as high at one in the afternoon: which share is named by the next evening, after how many minutes at the median\n');
  heading('values an hour', 'bad values', 'alone', 'in threes', '3 times', '10 times');
  for (const perHour of [3, 20, 150, 600]) {
    for (const share of [0.005, 0.05, 0.3]) {
      const lines = [false, true].map((inThrees) => falseAnomalies({ perHour, share, inThrees }, { days: Math.ceil(days / 2), seed: 1 }));
      const found = [3, 10].map((times) => foundAnomalies({ perHour, share }, { times, seed: 2 }));
      line(perHour, `${share * 100} %`, ...lines.map((count) => count.toFixed(2)), ...found.map((one) => `${Math.round(one.found * 100)} %, ${minutes(one.minutes)}`));
    }
  }
}

function releases() {
  const MEASURES = [
    ['synchronisation', 'sync', SYNCS],
    ['logins', 'logins', LOGINS],
    ['errors, 1 an hour', 'errors', errorsOf(1)],
    ['errors, 4 an hour', 'errors', errorsOf(4)],
  ];
  const runsOf = (fleet, share = 1) => Math.ceil((share * days * 40 * 50) / Math.max(50, fleet.stores) / (fleet.stores > 100 ? 2 : 1));
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  console.log(`\nAlerts on a good release within its first day: as the rules were, and as they are; ${runsOf({ stores: 50 })} days, of 500 stores ${runsOf({ stores: 500 })}\n`);
  heading('stores with the release', 'failures', ...MEASURES.map(([name]) => name));
  for (const [candidates, stores] of [[5, 50], [50, 500], [10, 50], [25, 50], [2, 20]]) {
    for (const more of [{}, { together: 3 }, { bursts: 0.06 }]) {
      const fleet = { stores, candidates, ...more };
      const cells = MEASURES.map(([, rule, measure]) => {
        const { before, now } = releaseAlerts(rule, measure, fleet, { runs: runsOf(fleet), seed: 1 });
        return `${percent(before.day)}, ${percent(now.day)}`;
      });
      line(`${candidates} of ${stores}`, more.together ? 'in threes' : more.bursts ? 'twice the bursts' : 'alone', ...cells);
    }
  }
  console.log('\nA bad release: found within an hour and within a day, and minutes at the median; as the rules were, and as they are\n');
  heading('what is bad', '5 of 50 stores', '2 of 20 stores', '50 of 500 stores');
  const found = ({ hour, day, median }) => `${Math.round(100 * hour)} %, ${Math.round(100 * day)} %, ${median === Infinity ? '–' : median}`;
  const bad = [
    ...[0.06, 0.1, 0.3, 1].map((share) => [`${100 * share} % of synchronisations fail`, 'sync', SYNCS, { bad: share }]),
    ...[0.03, 0.06, 0.1, 0.3].map((share) => [`${100 * share} % of logins fail`, 'logins', LOGINS, { bad: share }]),
    ...[3, 5, 10].map((times) => [`${times} times the errors, 1 an hour`, 'errors', errorsOf(1), { times }]),
  ];
  for (const [name, rule, measure, what] of bad) {
    const cells = [[5, 50], [2, 20], [50, 500]].map(([candidates, stores]) => {
      const fleet = { stores, candidates, ...what };
      const { before, now } = releaseAlerts(rule, measure, fleet, { runs: runsOf(fleet, 0.25), seed: 2 });
      return `${found(before)}; ${found(now)}`;
    });
    line(name, ...cells);
  }
}

if (!values.releases) stores();
releases();
