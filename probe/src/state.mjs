// What must outlive the probe: the queue that its batches are numbered in, the batches that the collector has not
// acknowledged, and when each scenario last ran. One file, written anew as a whole each time.
import { randomUUID } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The collector takes samples that are up to 8 days old. */
const AGE_MS_MAX = 7 * 86_400_000;
/** An hour's runs of four scenarios are four batches, so this is two days and more. */
const WAITING_MAX = 250;

export class StateError extends Error {}

function readState(path) {
  let text;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return;
    throw new StateError(`${path} cannot be read: ${error.code}`);
  }
  try {
    const state = JSON.parse(text);
    if (state.version === 1 && Array.isArray(state.waiting) && Number.isInteger(state.nextSeq) && typeof state.queue === 'string') return state;
    throw new Error(`its version is ${state.version}`);
  } catch (error) {
    // A new file would number from 1 again in a new queue, which is safe, but what waits in the old one would be gone.
    throw new StateError(`${path} is not a state file that this release can read (${error.message}). Move it away to begin anew; what waits in it is lost then`);
  }
}

function syncFolder(path) {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

const isAlive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
};

/** Two probes with one queue would give two batches one number, and the collector would lose one of them. */
function lock(path) {
  for (let tries = 0; tries < 2; tries += 1)
    try {
      const file = openSync(path, 'wx', 0o600);
      writeSync(file, String(process.pid));
      closeSync(file);
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') throw new StateError(`${path} cannot be written: ${error.code}`);
      const pid = Number(readFileSync(path, 'utf8'));
      // In a container each probe may have had the same number as this one.
      if (pid && pid !== process.pid && isAlive(pid)) throw new StateError(`another probe (process ${pid}) uses ${dirname(path)}; give each probe a --data-dir of its own`);
      rmSync(path, { force: true });
    }
}

export class State {
  /** Opens or makes the state in a folder, for batches of this store and terminal. */
  constructor(folder, { store, terminal }, now = Date.now()) {
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new StateError(`${folder} cannot be made: ${error.code}`);
    }
    this.path = join(folder, 'state.json');
    this.lockPath = join(folder, 'lock');
    lock(this.lockPath);
    try {
      const kept = readState(this.path);
      const isSame = kept?.store === store && kept.terminal === terminal;
      // The numbers of a queue belong to one terminal. What waits bears its own store, terminal and queue.
      const queue = isSame ? { queue: kept.queue, nextSeq: kept.nextSeq } : { queue: randomUUID(), nextSeq: 1 };
      this.data = { version: 1, store, terminal, ...queue, waiting: kept?.waiting ?? [], drops: isSame ? (kept.drops ?? []) : [], scenarios: kept?.scenarios ?? {} };
      this.dropped = 0;
      this.expire(now);
      this.save();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  save() {
    const next = this.path + '.new';
    try {
      const file = openSync(next, 'w', 0o600);
      try {
        writeFileSync(file, JSON.stringify(this.data));
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(next, this.path);
      syncFolder(dirname(this.path));
    } catch (error) {
      // What is not kept could be numbered twice after a restart, so nothing more is posted.
      throw new StateError(`${this.path} cannot be written (${error.code}): make room, or let this user write there`);
    }
  }

  close() {
    rmSync(this.lockPath, { force: true });
  }

  get waiting() {
    return this.data.waiting;
  }

  /** Numbers a batch and keeps it. From here on it never changes, whatever happens to the probe. */
  add(samples, { release } = {}, now = Date.now()) {
    this.expire(now);
    const { store, terminal, queue, nextSeq, drops } = this.data;
    const batch = { v: 1, store_id: store, terminal_id: terminal, queue, seq: nextSeq, ...(release ? { release } : {}), consent: true, source: 'synthetic', samples, ...(drops.length ? { drops: drops.slice(0, 50) } : {}) };
    this.data.waiting.push({ madeAtMs: now, batch });
    this.data.nextSeq += 1;
    this.data.drops = drops.slice(50);
    this.save();
  }

  /** The collector has it. */
  acknowledge(entry) {
    this.data.waiting = this.waiting.filter((other) => other !== entry);
    this.save();
  }

  /** It will never be sent again: the collector is told so with the next batch. */
  drop(entry, reason, now = Date.now()) {
    this.data.waiting = this.waiting.filter((other) => other !== entry);
    const { queue, seq, samples } = entry.batch;
    this.dropped += 1;
    if (queue === this.data.queue) this.data.drops.push({ queue, from: seq, to: seq, samples: samples.length, reason, t: now });
    // The list that tells of losses must be bounded, too; the collector finds what it does not name by the missing numbers.
    this.data.drops = this.data.drops.slice(-WAITING_MAX);
    this.save();
  }

  /** Drops what is too old for the collector, and the oldest of too many. */
  expire(now = Date.now()) {
    for (const entry of this.waiting.filter(({ madeAtMs }) => now - madeAtMs > AGE_MS_MAX)) this.drop(entry, 'age', now);
    for (const entry of this.waiting.slice(0, Math.max(0, this.waiting.length - WAITING_MAX + 1))) this.drop(entry, 'quota', now);
  }

  /** When a scenario last ended; before that, since when it should run. A restart does not begin anew. */
  lastRunMs(scenario, now = Date.now()) {
    return (this.data.scenarios[scenario] ??= now);
  }

  ran(scenario, now = Date.now()) {
    this.data.scenarios[scenario] = now;
    this.save();
  }
}
