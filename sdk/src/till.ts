/** The terminal: takes measurements from the page, keeps them, and sends them when it can. */

import { eventOf } from './errors';
import { METRICS, declare } from './metric';
import { increase } from './histogram';
import { ask, post, postLast } from './post';
import * as queue from './queue';
import { guarded, safely } from './safely';
import { COUNTER, DISTRIBUTION, add } from './series';
import { type Storage, durable, volatile } from './storage';

/** The calls, by the kind of metric that each is for. */
const CALLS = ['observe', 'count', 'level'];
/** How long what was measured is in memory alone. */
const KEEP_AFTER_MS = 5000;

/** What a page says about itself. */
export interface Options {
  /** The collector's address, such as `https://rum.example.com`. */
  url: string;
  /** The store (shop) and the terminal, as the collector knows them: letters, digits and `_ . : -`. */
  store: string;
  terminal: string;
  /** The version of the page. */
  release?: string;
  /** A token, or what gives one; a function is asked again when a token has run out. */
  token?: string | (() => string | Promise<string>);
  /** Whether whoever works at the till agrees. Without it nothing is measured, kept or sent. */
  consent: boolean;
  /** Metrics of the shop's own, as the collector's settings declare them: with which call they are recorded, and the values of the label. */
  metrics?: { [name: string]: { call: 'observe' | 'count' | 'level'; labels?: string[] } };
  /** Whether the page measures by itself (default: yes); the first call of `init` says it. */
  auto?: boolean;
  /** Whether mistakes in calls are written to the console (default: on localhost). */
  debug?: boolean;
  /** How often a quiet till posts, in ms (default: 60,000). */
  interval?: number;
  /** How much may wait, in bytes (default: 20,000,000), and for how long, in ms (default: 7 days; the collector takes nothing older). */
  maxBytes?: number;
  maxAge?: number;
}

export type Connection = 'online' | 'offline' | 'slow' | 'metered' | 'offline_sync';

/** What a single measurement may carry. */
export interface Extra {
  /** One of the values of the metric's label. */
  label?: string;
  /** The connection, if it is not the present one. */
  connection?: Connection;
}

export interface Status {
  connection: Connection;
  /** How many samples wait, in all tabs (a loss stands for as many as it names), and about how many bytes they take. */
  waiting: { samples: number; bytes: number };
  /** How many requests this page made, and when the collector last took something (Unix ms). */
  posts: number;
  takenAt?: number;
  /** The last answer: its status (0: none), and the code of a refusal. */
  answer?: number;
  code?: string;
  /** How many samples this page had to drop, by reason. */
  dropped: { [reason: string]: number };
}

/** Called when the page is hidden or left, and every ten minutes without an event, so that what is known only at the end is recorded. */
export const atEnd: ((event?: Event) => void)[] = [];
/** Called when the connection has changed. */
export const atSwitch: ((to: Connection, from: Connection) => void)[] = [];

/** Calls all of them. */
export const tell = <A extends unknown[]>(all: ((...given: A) => void)[], ...given: A): void => {
  for (const one of all) safely(() => one(...given));
};

let options: Options;
let identity: queue.Identity;
let isOn = false;
const state: Omit<Status, 'waiting'> = {
  connection: navigator.onLine ? 'online' : 'offline',
  posts: 0,
  dropped: queue.dropped,
};

/** When the connection changed last, or the page began. */
let lostAt = queue.tillTime();

/** What was measured and is not kept yet. */
let [windows, happened]: queue.Measured = [{}, []];
/** Calls that were not looked at yet: to look at many at once takes a fraction of the time. */
let calls: (() => void)[] = [];
const CALLS_MAX = 500;
/** When to look for what is to be sent, by the clock of the page, and how much was recorded since the last look. */
let sendAt = 0;
let weight = 0;
let isStarted = false;
let keeping: Promise<unknown> = Promise.resolve();
let sending: Promise<unknown> | null;

const forget = (): void => {
  [windows, happened] = [{}, []];
  calls = [];
};

/** Does something in both storages, one after the other. */
const each = async (work: (storage: Storage) => Promise<unknown>): Promise<void> => {
  for (const storage of [durable, volatile]) await safely(() => work(storage));
};

/** One per tab and visit of the shop's pages, without meaning elsewhere. A worker has none. */
const session = (): string | undefined => safely(() => (sessionStorage.tillwatch ||= queue.uuid()));

/** Begins to take measurements, or goes on as another till. What `watches` begins when the page first allows it. */
export const start = guarded((given: Options, ...watches: (() => void)[]): void => {
  keep();
  for (const name in given.metrics) declare(name, CALLS.indexOf(given.metrics[name].call), given.metrics[name].labels);
  const { store, terminal, release, token, consent: isGiven, url, maxBytes = 2e7, maxAge = 6048e5, interval = 6e4, auto } = given;
  options = { ...given, url: url.replace(/\/+$/, '') };
  identity = [store + '\n' + terminal, JSON.stringify({ release: release && '' + release, session_id: session() }), (token as string)?.trim?.()];
  queue.limits.splice(0, 3, maxBytes, maxAge, interval);
  // A worker repeats what a page once said; only a page can say it anew.
  if (isGiven && !self.document) isOn = true;
  else consent(!!isGiven);
  if (isStarted) return;
  isStarted = true;
  setInterval(turn, KEEP_AFTER_MS);
  if (auto !== false) watches.map(safely);
});

const warn = (message: string): void => {
  if (options.debug ?? location.hostname === 'localhost') console.warn('tillwatch: ' + message);
};

/** Keeps what was measured, and sends what is due. */
const turn = async (): Promise<void> => {
  await keep();
  // Much, or something urgent, goes early.
  if (isOn && (performance.now() >= sendAt || weight >= queue.MANY)) await send();
};

const digest = () => calls.splice(0).map(safely);

/** Moves what is in memory into the queue. */
const keep = (): Promise<unknown> => {
  digest();
  if (identity && isOn && (Object.keys(windows)[0] || happened[0])) {
    sendAt = Math.min(sendAt, performance.now() + queue.limits[2]);
    // None waits for another: a page that ends has no time for that.
    const before = keeping;
    keeping = queue.keep(identity, [windows, happened]).then(() => before);
    forget();
  }
  return keeping;
};

/** Sends what is due, if no other tab does. */
const send = (isAsked = false, isEnd = false): Promise<unknown> => {
  weight = 0;
  // A line that is slow or costs money gets less often, and less of detail.
  queue.limits[3] = /slow|met/.test(state.connection) ? 5 : 1;
  const work = async (lock: unknown) => {
    let wait = 0;
    if (lock) {
      wait = 6e4;
      await each(async (storage) => {
        for (;;) {
          const job = isOn ? await queue.next(storage, identity, isAsked) : wait;
          if (!(job as queue.Job)[1]) return (wait = Math.min(wait, job as number));
          if (isEnd) return (wait = postLast(options.url, job as queue.Job));
          await one(storage, job as queue.Job);
        }
      });
    }
    sendAt = performance.now() + wait;
  };
  const locked = async () => navigator.locks.request('tillwatch', { ifAvailable: !isAsked }, work);
  // A page without storage may have no locks, and not every browser has them.
  return (sending ||= locked()
    .catch(() => work(1))
    .finally(() => (sending = null)));
};

/** Makes one request. */
const one = async (storage: Storage, job: queue.Job): Promise<void> => {
  const { token, url } = options;
  const [to, batch] = job;
  // A page that has no answer must not hold up the other tabs.
  const given = async () =>
    (token as any)?.call && batch.k[1] === identity[0] && Promise.race([(token as () => string)(), new Promise<undefined>((resolve) => setTimeout(resolve, 3e4))]);
  to.token ||= await safely(given);
  const answer = await post(url, job);
  const [status, json, , tookMs] = answer;
  const code = json?.error?.code;
  state.posts++;
  state.answer = status;
  state.code = code;
  if (!status) connect('offline');
  else if (!batch.k[2]) {
    const { saveData, effectiveType } = (navigator as any).connection || {};
    connect(tookMs > 3000 || /2g/.test(effectiveType) ? 'slow' : saveData ? 'metered' : 'online');
    record('network_latency_ms', tookMs, DISTRIBUTION);
  }
  if (status === 202) state.takenAt = Date.now();
  else if (code) warn(code);
  const next = status === 401 && ((await safely(given)) || (code === 'token_expired' && (await ask(url + '/v1/token', to.token))[1]?.token));
  await queue.settle(storage, job, answer, next);
};

/** Takes one value in the wire unit. A mistake is said on the console and counted as a loss. */
export const record = guarded((name: string, value: number, kind: number, { label, connection = state.connection }: Extra = {}): void => {
  if (!isOn) return;
  const t = queue.tillTime();
  calls.push(() => {
    const [due, scale, max, labels] = METRICS[name] || [];
    const recorded = Math.round(value * scale!);
    const mistake = !scale
      ? 'unknown'
      : due !== kind
        ? 'use ' + CALLS[due!]
        : labels && !labels.includes(label!)
          ? 'label: ' + labels
          : !(recorded >= 0 && recorded <= max!) && 'value: ' + value;
    if (mistake) {
      warn(`${name}: ${mistake}`);
      drop('refused');
    } else add((windows[queue.floor(t)] ||= {}), `${name}|${labels ? label : ''}|${connection}`, kind, recorded, t);
  });
  if (calls[CALLS_MAX - 1]) digest();
  // A request is no reason for the next one: a hidden page, which keeps all at once, would not come to an end.
  if (name !== 'network_latency_ms') noted(name === 'data_loss_incidents' ? queue.MANY : 1);
});

/** Begins to measure a duration, and gives what ends it. */
export const begun = (name: string, extra?: Extra): () => void => {
  const started = performance.now();
  return () => record(name, performance.now() - started, DISTRIBUTION, extra);
};

const happen = (event: Omit<queue.TerminalEvent, 't'>): void => {
  if (!isOn) return;
  const same: any = event.count && happened.find(({ type, message }: any) => type === event.type && message === event.message);
  if (same) same.count++;
  else if (happened[queue.LIST_MAX - 1]) return drop('quota');
  else happened.push({ ...event, t: queue.tillTime(), connection: state.connection });
  noted(queue.MANY);
};

/** Timers of hidden pages come late, so that these keep at once. */
const noted = (by: number): void => {
  weight += by;
  if (self.document?.hidden) queueMicrotask(keep);
};

export const error = (thrown: unknown, isFatal?: boolean): void => happen(eventOf(thrown, isFatal));

export const event = (k: string, name?: string): void => happen({ k: '' + k, name: name && '' + name });

const drop = (reason: string): void => {
  increase(queue.dropped, reason);
  const same: any = happened.find((other) => other.reason === reason);
  if (same) same.samples++;
  else happened.push({ samples: 1, reason, t: queue.tillTime() });
};

/** The connection, as answers and the browser tell it. */
export const connect = (to: Connection): void => {
  const from = state.connection;
  if (from === to) return;
  state.connection = to;
  record('mode_switches', 1, COUNTER, { label: to });
  const now = queue.tillTime();
  if (from === 'offline') {
    event('online');
    record('offline_duration_ms', now - lostAt, DISTRIBUTION);
  }
  if (to === 'offline') event(to);
  lostAt = now;
  tell(atSwitch, to, from);
};

/** The browser says that there is a network. Only an answer proves it. */
export const retry = async (withinMs: number): Promise<void> => {
  await each((storage) => queue.change(storage, withinMs));
  sendAt = 0;
};

/** Takes note whether there is consent; without either, everything is erased and nothing else changes. */
export const consent = async (isGiven?: boolean): Promise<void> => {
  isOn = isGiven ?? isOn;
  if (!isGiven) forget();
  sendAt = 0;
  await keeping;
  await each((storage) => queue.change(storage, 2000, isGiven, !isGiven));
};

export const flush = async (): Promise<void> => {
  await keep();
  await sending;
  await retry(0);
  await send(true);
};

export const status = async (): Promise<Status> => {
  const waiting = { samples: 0, bytes: 0 };
  await keep();
  await each(async (storage) => {
    const { w, z } = await queue.look(storage);
    waiting.samples += w;
    waiting.bytes += z;
  });
  return { ...state, waiting };
};

/** The page is hidden or ends. */
export const leave = async (why: Event): Promise<void> => {
  const isEnd = why.type === 'pagehide';
  tell(atEnd, why);
  if (isEnd) event('shutdown');
  const kept = keep();
  safely(queue.handOver);
  await kept;
  await send(true, isEnd);
};
