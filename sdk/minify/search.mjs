#!/usr/bin/env node
// Searches for names and orders with which gzip makes the library smallest (simulated annealing), beginning with those
// that are known, and writes them to choices.json if they are better. `node minify/search.mjs [seconds]`: 600 by default.
import { readFileSync, writeFileSync } from 'node:fs';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { bundled } from './bundle.mjs';
import { NAMES, choiceOf, chosen, shapeOf } from './shape.mjs';
import { largestOf } from './size.mjs';

const file = new URL('choices.json', import.meta.url);
/** Entries that are searched, each on a processor of its own. The others have the same functions, and take what fits. */
const SEARCHED = ['index', 'classic'];

/** How much larger a step may make the text at first, and at the end. */
const [HOT, COLD] = [0.35, 0.02];
/** Names that are taken over by so many variables at once are not tried. */
const SWAP_MAX = 40;

function search({ code, choice, seconds, seed }) {
  const shape = shapeOf(code);
  const { variables, orders } = shape;
  const { names, places } = chosen(shape, choice);
  const others = variables.map((one) => [...one.others].map((other) => variables.indexOf(other)));
  const labels = variables.flatMap(({ labels }, n) => [...labels].map((label) => [n, label]));
  let state = seed;
  const random = (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
  };
  const sizeNow = () => largestOf(shape.print(names, places));
  let size = sizeNow();
  let best = { size, names: [...names], places: [...places] };
  const first = size;

  /** Puts one list into another order; gives what takes it back. */
  const reorder = () => {
    const n = random(orders.length);
    const before = places[n];
    const after = [...before];
    const [moved] = after.splice(random(after.length), 1);
    after.splice(random(before.length), 0, moved);
    places[n] = after;
    return () => (places[n] = before);
  };
  /** Gives a variable another name. Whoever has that name and may not keep it takes the old one, and so on. */
  const rename = () => {
    // Now and then it is called as it is outside, where that is shorter.
    const [labelled, label] = random(100) ? [] : labels[random(labels.length)];
    const n = labelled ?? random(variables.length);
    const from = names[n];
    const to = label && label !== from ? label : random(2) ? NAMES[Math.min(random(54), random(54))] : names[random(names.length)];
    if (to === from || (to.length > 2 && to !== label)) return;
    const swapped = new Set([n]);
    for (const one of swapped) {
      const wanted = names[one] === from ? to : from;
      for (const other of others[one]) if (names[other] === wanted) swapped.add(other);
      if (swapped.size > SWAP_MAX) return;
    }
    if (swapped.size > 1 && from.length + to.length > 4) return;
    const swap = () => { for (const one of swapped) names[one] = names[one] === from ? to : from; };
    swap();
    return swap;
  };

  const began = Date.now();
  for (let share = 0; share < 1; share = (Date.now() - began) / 1000 / seconds) {
    const back = random(3) ? rename() : reorder();
    if (!back) continue;
    const tried = sizeNow();
    const heat = COLD + (HOT - COLD) * (1 - share) ** 2;
    if (tried <= size || random(1e6) / 1e6 < Math.exp((size - tried) / heat)) {
      size = tried;
      if (size < best.size) best = { size, names: [...names], places: [...places] };
    } else back();
  }
  return { first, size: best.size, choice: choiceOf(shape, best.names, best.places) };
}

if (!isMainThread) parentPort.postMessage(search(workerData));
else {
  const seconds = Number(process.argv[2] || 600);
  if (!(seconds > 0)) throw new Error('usage: node minify/search.mjs [seconds]');
  const known = JSON.parse(readFileSync(file, 'utf8'));
  await Promise.all(SEARCHED.map(async (entry, n) => {
    const workerData = { code: await bundled(`src/${entry}.ts`), choice: known[entry], seconds, seed: (Date.now() + n) | 0 };
    const worker = new Worker(new URL(import.meta.url), { workerData });
    const { first, size, choice } = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    console.log(`${entry}: ${first} bytes before, ${size} after ${seconds} s`);
    if (size < first) known[entry] = choice;
  }));
  writeFileSync(file, JSON.stringify(known, null, 1) + '\n');
}
