// Counts what a batch costs and holds it against the figures of this folder. `run.sh` says how it is called.

import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { count } from "./count.mjs";

// A count differs from another of the same program by less than one in a hundred.
const TOLERANCE = 0.05;
const FIGURES = new URL("figures.json", import.meta.url);

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: "string", default: "1" },
    connections: { type: "string", default: "1" },
    functions: { type: "boolean", default: false },
    "no-check": { type: "boolean", default: false },
    refused: { type: "string" },
  },
});
const [program, ...formats] = positionals;
const figures = JSON.parse(await readFile(FIGURES, "utf8"));
let isOver = false;
for (const format of formats.length > 0 ? formats : Object.keys(figures)) {
  const counts = [];
  for (let at = 0; at < Number(options.runs); at += 1) {
    const counted = await count(program, format, { connections: Number(options.connections), wantsFunctions: options.functions && at === 0, refused: options.refused });
    counts.push(counted.instructions);
    if (counted.functions) console.log(counted.functions);
  }
  counts.sort((left, right) => left - right);
  const [least, median, most] = [counts[0], counts[Math.floor(counts.length / 2)], counts.at(-1)];
  const spread = counts.length > 1 ? ` (${least} to ${most} in ${counts.length} runs: ${((most / least - 1) * 100).toFixed(2)} %)` : "";
  console.log(`instructions: ${format}: ${median} a batch${spread}`);
  if (options["no-check"] || options.refused) continue;
  if (!figures[format]) continue;
  const figure = figures[format].instructions;
  const change = median / figure - 1;
  const said = `${(Math.abs(change) * 100).toFixed(1)} % ${change < 0 ? "below" : "above"} the figure, ${figure}`;
  if (change > TOLERANCE) {
    isOver = true;
    console.error(
      `instructions: FAILED: ${format}: a batch costs ${median} instructions, ${said}. Find what costs it (make instructions RUN=--functions). ` +
        "If it is worth it, raise the figure in benches/instructions/figures.json, with the day and the reason.",
    );
  } else if (change < -TOLERANCE) {
    console.log(`instructions: ${format}: ${said}: lower it in benches/instructions/figures.json, so that the gain is kept.`);
  } else {
    console.log(`instructions: ${format}: ${said}.`);
  }
}
process.exitCode = isOver ? 1 : 0;
