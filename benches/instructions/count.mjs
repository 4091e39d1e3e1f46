// Runs a collector under valgrind and counts the instructions of a fixed number of batches.

import { execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";

import { Load } from "./load.mjs";

const run = promisify(execFile);
const TERMINALS = 32;
// Until each terminal is known and each list has its length.
const WARM_UP_ROUNDS = 20;
const ROUNDS = 32;
// All of one count takes some ten seconds.
const TIME_MAX_MS = 120_000;

/** Requests that are refused: what the collector is started with, what stands in their heads, how they are answered. */
const REFUSED = {
  address: { serve: ["--address-rate", "1/min", "--exempt-networks", "none"], status: 429, isFirstTaken: true },
  no_credential: { serve: ["--auth", "required"], status: 401 },
  forged: { serve: ["--auth", "required", "--terminal-rate", "off"], status: 401, needsTokens: true },
  content_encoding: { serve: [], status: 415, head: "content-encoding: lzma\r\n" },
};

/** A token whose signature is that of another one. */
async function forge(program, folder) {
  const issue = async (store) => (await run(program, ["token", "issue", "--data-dir", `${folder}/data`, "--store", store])).stdout.trim();
  await run(program, ["token", "key", "new", "--data-dir", `${folder}/data`]);
  const [one, other] = [await issue("store-000"), await issue("store-001")];
  return [...one.split(".").slice(0, 2), other.split(".")[2]].join(".");
}

/** The collector under valgrind, from its ready line to its end. */
class Collector {
  static async start(program, folder, more) {
    const valgrind = ["--tool=callgrind", "--instr-atstart=no", `--callgrind-out-file=${folder}/callgrind.out`];
    const serve = ["serve", "--data-dir", `${folder}/data`, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    // Neither engine nor server: what is counted is the way of a batch up to the aggregate.
    serve.push("--clickhouse-url", "http://127.0.0.1:9", "--log-level", "error");
    // One store may post as fast as it can here.
    serve.push("--store-requests-per-s", "4000000", "--store-burst", "4000000");
    serve.push(...more);
    // With several, how often one looks for the work of another is a matter of chance.
    const env = { ...process.env, TOKIO_WORKER_THREADS: "1" };
    const collector = new Collector();
    collector.process = spawn("valgrind", [...valgrind, program, ...serve], { env, stdio: ["ignore", "pipe", "pipe"] });
    let [said, printed] = ["", ""];
    collector.process.stderr.on("data", (bytes) => (said += bytes));
    collector.address = await new Promise((resolve, reject) => {
      collector.process.stdout.on("data", (bytes) => {
        printed += bytes;
        const ready = /ingest=http:\/\/([\d.]+):(\d+)/.exec(printed);
        if (ready) resolve({ host: ready[1], port: Number(ready[2]) });
      });
      collector.process.on("error", reject);
      collector.process.on("exit", (code) => reject(new Error(`the collector ended with ${code}:\n${said}`)));
    });
    return collector;
  }

  async control(...options) {
    await run("callgrind_control", [...options, String(this.process.pid)], { timeout: TIME_MAX_MS });
  }

  async end() {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.process.on("exit", resolve));
    this.process.kill("SIGKILL");
    await ended;
  }
}

/** The dump that callgrind has written. */
async function dump(folder) {
  const files = (await readdir(folder)).filter((file) => /^callgrind\.out\.\d+$/.test(file));
  if (files.length !== 1) throw new Error(`callgrind wrote ${files.length} dumps, not one`);
  return path.join(folder, files[0]);
}

async function total(file) {
  const found = /^(?:summary|totals): (\d+)/m.exec(await readFile(file, "latin1"));
  if (!found) throw new Error(`${file} has no total`);
  return Number(found[1]);
}

/** Where the instructions went: the functions that have most, without and with those they call. */
async function functions(file, batches) {
  const lists = [];
  for (const [title, options] of [["alone", []], ["with what they call", ["--inclusive=yes"]]]) {
    const { stdout } = await run("callgrind_annotate", ["--auto=no", "--threshold=100", ...options, file], { maxBuffer: 1 << 28 });
    const sums = new Map();
    for (const [, count, name] of stdout.matchAll(/^ *([\d,]+) \([^)]*\) +[^:]*:(.*?)(?: \[.*)?$/gm)) {
      const instructions = Number(count.replaceAll(",", "")) / batches;
      sums.set(name, title === "alone" ? (sums.get(name) ?? 0) + instructions : Math.max(sums.get(name) ?? 0, instructions));
    }
    const most = [...sums].sort(([, left], [, right]) => right - left).slice(0, 40);
    lists.push(`Functions ${title}:`, ...most.map(([name, count]) => `${Math.round(count).toString().padStart(8)}  ${name.slice(0, 140)}`));
  }
  return lists.join("\n");
}

/** Instructions a batch, and, if asked for, where they went. */
export async function count(program, format, { connections = 1, wantsFunctions = false, refused = undefined } = {}) {
  const folder = await mkdtemp(path.join(os.tmpdir(), "tillwatch-instructions-"));
  let collector;
  const work = async () => {
    const { serve = [], head = "", status, needsTokens, isFirstTaken } = refused ? REFUSED[refused] : {};
    const token = needsTokens ? `authorization: Bearer ${await forge(program, folder)}\r\n` : "";
    collector = await Collector.start(program, folder, serve);
    if (isFirstTaken) await fetch(`http://${collector.address.host}:${collector.address.port}/nothing`);
    const load = new Load(collector.address, format, connections, { head: head + token, status });
    await load.post(TERMINALS, WARM_UP_ROUNDS);
    await collector.control("-i", "on");
    // What runs for the first time under the counter is translated for it.
    await load.post(TERMINALS, 2);
    await collector.control("-z");
    const batches = await load.post(TERMINALS, ROUNDS);
    await collector.control("-d");
    load.close();
    const file = await dump(folder);
    return {
      instructions: Math.round((await total(file)) / batches),
      functions: wantsFunctions ? await functions(file, batches) : undefined,
    };
  };
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing was counted within ${TIME_MAX_MS / 1000} s`)), TIME_MAX_MS);
  });
  try {
    return await Promise.race([work(), late]);
  } finally {
    clearTimeout(timer);
    await collector?.end();
    await rm(folder, { recursive: true, force: true });
  }
}
