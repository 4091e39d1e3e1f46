/** The terminal: takes measurements from the page, keeps them, and sends them when it can. */

import { eventOf } from './errors';
import { metricOf } from './metric';
import { post, postLast, renewed } from './post';
import * as queue from './queue';
import { COUNTER, DISTRIBUTION, add } from './series';
import { durable, volatile } from './storage';

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
  /** Whether the page measures by itself (default: yes). */
  auto?: boolean;
  /** Whether mistakes in calls are written to the console (default: on localhost). */
  debug?: boolean;
  /** How often a quiet till posts, in ms (default: 60,000). */
  interval?: number;
  /** How much may wait, in bytes (default: 20,000,000), and for how long, in ms (default: 7 days). */
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
  /** How many samples wait, in all tabs, and about how many bytes they take. */
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

/** Whatever happens in here must not disturb the page. */
export function safely<T>(work: () => T): T | undefined {
  try {
    const result: any = work();
    return result?.catch ? result.catch(() => {}) : result;
  } catch {}
  return;
}

/** Called when the page may end, so that what is known only at the end is recorded. */
export const atEnd: (() => void)[] = [];
/** Called when the connection has changed. */
export const atSwitch: ((to: Connection, from: Connection) => void)[] = [];

let options: Options;
let identity: queue.Identity;
let limits: queue.Limits;
let isOn = false;
const state: Status = {
  connection: navigator.onLine === false ? 'offline' : 'online',
  waiting: { samples: 0, bytes: 0 },
  posts: 0,
  dropped: queue.dropped,
};

const none = (): queue.Measured => ({ windows: {}, events: [], drops: [] });
let measured = none();
/** Calls that were not looked at yet: to look at many at once takes a fraction of the time. */
let calls: (() => void)[] = [];
const CALLS_MAX = 1000;
/** When to look for what is to be sent, by the clock of the page, and how much was recorded since the last look. */
let sendAt = 0;
let weight = 0;
let timer: unknown;
let keeping: Promise<unknown> = Promise.resolve();
let sending: Promise<unknown> | undefined;

const STORAGES = [durable, volatile];

/** One per tab and visit of the shop's pages, without meaning elsewhere. A worker has none. */
const session = (): string | undefined => safely(() => (sessionStorage.tillwatch ||= queue.uuid()));

/** Begins to take measurements, or goes on as another till. */
export function start(given: Options): void {
  safely(keep);
  const { store, terminal, release, token, consent, url, maxBytes = 2e7, maxAge = 6048e5, interval = 6e4 } = given;
  options = { ...given, url: url.replace(/\/+$/, '') };
  identity = { store: '' + store, terminal: '' + terminal, release: release && '' + release, session: identity?.session || session(), token: typeof token === 'string' ? token : undefined };
  limits = { bytesMax: maxBytes, ageMaxMs: Math.min(maxAge, 6048e5), intervalMs: interval, spanMs: 6e4 };
  // A worker repeats what a page once said; only a page can say it anew.
  if (consent && !self.document) isOn = true;
  else safely(() => setConsent(consent));
  timer ||= setInterval(() => safely(turn), KEEP_AFTER_MS);
}

function warn(message: string): void {
  if (options.debug ?? /^(localhost|127)/.test(location.hostname)) console.warn('tillwatch: ' + message);
}

/** Keeps what was measured, and sends what is due. */
async function turn(): Promise<void> {
  await keep();
  // Much, or something urgent, goes early.
  if (isOn && (performance.now() >= sendAt || weight >= queue.MANY)) await send();
}

function forget(): void {
  measured = none();
  calls = [];
}

function digest(): void {
  for (const call of calls.splice(0)) safely(call);
}

/** Moves what is in memory into the queue. */
function keep(): Promise<unknown> {
  digest();
  const [taken, of] = [measured, identity];
  if (!(of && isOn && (Object.keys(taken.windows)[0] || taken.events[0] || taken.drops[0]))) return keeping;
  forget();
  sendAt = Math.min(sendAt, performance.now() + limits.intervalMs);
  const done = async () => {
    for (const storage of STORAGES)
      try {
        return await queue.keep(storage, of, taken);
      } catch {}
  };
  // None waits for another: a page that ends has no time for that.
  return (keeping = Promise.all([keeping, done()]));
}

/** Sends what is due, if no other tab does. */
function send(isAsked = false, isEnd = false): Promise<unknown> {
  weight = 0;
  const paced = { ...limits };
  // A line that is slow or costs money gets less often, and less of detail.
  if (/slow|met/.test(state.connection)) {
    paced.spanMs = 3e5;
    paced.intervalMs *= 5;
  }
  const work = async (lock: unknown) => {
    let wait = 6e4;
    if (lock)
      for (const storage of STORAGES)
        await safely(async () => {
          for (;;) {
            const job = isOn ? await queue.next(storage, paced, identity, isAsked) : wait;
            if (typeof job === 'number') return (wait = Math.min(wait, job));
            if (isEnd) return (wait = postLast(options.url, job));
            await one(storage, job);
          }
        });
    sendAt = performance.now() + (lock ? wait : 0);
  };
  const { locks } = navigator;
  return (sending ||= (locks ? locks.request('tillwatch', { ifAvailable: !isAsked }, work) : work(1))
    // A page without storage may have no locks either.
    .catch(() => work(1))
    .finally(() => (sending = undefined)));
}

/** Makes one request. */
async function one(storage: typeof durable, job: queue.Job): Promise<void> {
  const { token, url } = options;
  const { to } = job;
  // A page that has no answer must not hold up the other tabs.
  const given = async () =>
    typeof token === 'function' && to.terminal === identity.terminal && to.store === identity.store
      ? Promise.race([token(), new Promise<undefined>((resolve) => setTimeout(resolve, 2e4))])
      : undefined;
  to.token ||= await safely(given);
  const answer = await post(url, job);
  const { status, code, tookMs } = answer;
  state.posts++;
  state.answer = status;
  state.code = code;
  if (!status) connect('offline');
  else if (!job.batch.k[2]) {
    const { saveData, effectiveType } = (navigator as any).connection || {};
    connect(tookMs > 3000 || /2g/.test(effectiveType) ? 'slow' : saveData ? 'metered' : 'online');
    record('network_latency_ms', tookMs, DISTRIBUTION);
  }
  if (!answer.is) state.takenAt = Date.now();
  else if (code) warn(code);
  await queue.settle(storage, job, answer);
  const next = status === 401 && ((await safely(given)) || (code === 'token_expired' && (await renewed(url, to.token))));
  if (next && next !== to.token) await queue.wake(storage, 0, to, next);
}

/** Takes one value in the wire unit. */
export function record(name: string, value: number, kind: number, { label, connection = state.connection }: Extra = {}): void {
  if (!isOn) return;
  const t = queue.tillTime();
  calls.push(() => take(name, value, kind, label, connection, t));
  if (calls.length >= CALLS_MAX) digest();
  noted(name === 'data_loss_incidents' ? queue.MANY : 1);
}

/** A mistake is said on the console and counted as a loss. */
function take(name: string, value: number, kind: number, label: string | undefined, connection: Connection, t: number): void {
  const metric = metricOf(name);
  const recorded = Math.round(value * metric?.[1]!);
  const mistake = !metric
    ? 'unknown'
    : metric[0] !== kind
      ? 'use ' + ['observe', 'count', 'level'][metric[0]]
      : metric[3] && !metric[3].includes(label!)
        ? 'label: ' + metric[3]
        : !(recorded >= 0 && recorded <= metric[2]) && 'value: ' + value;
  if (mistake) {
    warn(`${name}: ${mistake}`);
    return drop('refused');
  }
  add((measured.windows[t - (t % 6e4)] ||= {}), `${name}|${metric![3] ? label : ''}|${connection}`, kind, recorded, t);
}

function happen(event: queue.TerminalEvent): void {
  if (!isOn) return;
  const { events } = measured;
  const same = event.count && events.find((other) => other.type === event.type && other.message === event.message);
  if (same) same.count!++;
  else if (events[queue.LIST_MAX - 1]) return drop('quota');
  else events.push({ ...event, connection: state.connection });
  noted(queue.MANY);
}

/** Timers of hidden pages come late, so that these keep at once. */
function noted(by: number): void {
  weight += by;
  if (self.document?.hidden) queueMicrotask(() => safely(keep));
}

export const error = (thrown: unknown, isFatal?: boolean): void => happen(eventOf(thrown, queue.tillTime(), isFatal));

export const event = (k: string, name?: string): void => happen({ k: '' + k, name: name && '' + name, t: queue.tillTime() });

function drop(reason: string, samples = 1): void {
  queue.dropped[reason] = (queue.dropped[reason] || 0) + samples;
  const same = measured.drops.find((other) => other.reason === reason);
  if (same) same.samples += samples;
  else measured.drops.push({ samples, reason, t: queue.tillTime() });
}

/** The connection, as answers and the browser tell it. */
export function connect(to: Connection): void {
  const from = state.connection;
  if (from === to) return;
  state.connection = to;
  record('mode_switches', 1, COUNTER, { label: to });
  if (from === 'offline') event('online');
  if (to === 'offline') event(to);
  for (const told of atSwitch) safely(() => told(to, from));
}

/** The browser says that there is a network. Only an answer proves it. */
export async function retry(withinMs = 2000): Promise<void> {
  for (const storage of STORAGES) await safely(() => queue.wake(storage, withinMs));
  sendAt = 0;
}

export async function setConsent(isGiven: boolean): Promise<void> {
  isOn = isGiven;
  if (!isOn) forget();
  sendAt = 0;
  await keeping;
  for (const storage of STORAGES) await safely(() => queue.consent(storage, isGiven));
}

export async function erase(): Promise<void> {
  forget();
  await keeping;
  for (const storage of STORAGES) await safely(() => queue.clear(storage));
}

export async function flush(): Promise<void> {
  await keep();
  await sending;
  await retry(0);
  await send(true);
}

export async function status(): Promise<Status> {
  const waiting = { samples: 0, bytes: 0 };
  await keep();
  for (const storage of STORAGES) {
    const { samples = 0, bytes = 0 } = (await safely(() => queue.look(storage, limits))) || {};
    waiting.samples += samples;
    waiting.bytes += bytes;
  }
  return { ...state, waiting };
}

/** The page is hidden or ends. */
export function leave(isEnd: boolean): void {
  for (const end of atEnd) safely(end);
  if (isEnd) event('shutdown');
  safely(async () => {
    await keep();
    await send(true, isEnd);
  });
}
