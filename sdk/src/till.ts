/** The terminal: takes measurements from the page, keeps them, and sends them when it can. */

import { eventOf, scrub } from './errors';
import { metricOf } from './metric';
import { post, postLast, renewed } from './post';
import * as queue from './queue';
import { COUNTER, LEVEL, add } from './series';
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
  /** How much may wait, in bytes (default: 5,000,000), and for how long, in ms (default: 7 days). */
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
  waiting: queue.waiting,
  posts: 0,
  dropped: {},
};

const none = (): queue.Measured => ({ windows: new Map(), events: [], drops: [] });
let measured = none();
/** What is to be done now, by the clock of the page: keep what was measured, and see what is to be sent. */
let keepAt = Infinity;
let sendAt = 0;
let timer: ReturnType<typeof setTimeout> | undefined;
/** How much was recorded since the last look. */
let weight = 0;
let keeping: Promise<unknown> = Promise.resolve();
let sending: Promise<unknown> | undefined;

const STORAGES = [durable, volatile];

/** One per tab and visit of the shop's pages, without meaning elsewhere. */
const session = () =>
  safely(() => (sessionStorage.tillwatch ||= queue.uuid())) || queue.uuid();

/** Begins to take measurements, or goes on as another till. */
export function start(given: Options): void {
  safely(keep);
  const { store, terminal, release, token, consent, url, maxBytes = 5e6, maxAge = 6048e5, interval = 6e4 } = given;
  options = { ...given, url: url.replace(/\/+$/, '') };
  identity = { store, terminal, release, session: identity?.session || session(), token: typeof token === 'string' ? token : undefined };
  limits = { bytesMax: maxBytes, ageMaxMs: maxAge, intervalMs: interval };
  setConsent(consent);
}

function warn(message: string): void {
  if (options.debug ?? /^(localhost|127)/.test(location.hostname)) console.warn('tillwatch: ' + message);
}

/** Sets the timer for what is to be done next. */
function ring(): void {
  clearTimeout(timer);
  if (isOn) timer = setTimeout(() => safely(turn), Math.max(50, Math.min(keepAt, sendAt) - performance.now()));
}

function keepSoon(): void {
  if (keepAt < Infinity) return;
  keepAt = performance.now() + KEEP_AFTER_MS;
  ring();
}

/** What the timer does. */
async function turn(): Promise<void> {
  const now = performance.now();
  if (now >= keepAt - 1) await keep();
  // Much, or something urgent, goes early; the queue knows whether it is too early.
  if (now >= sendAt - 1 || weight >= 50) await send();
  ring();
}

/** Moves what is in memory into the queue. */
function keep(): Promise<unknown> {
  const [taken, of, by] = [measured, identity, limits];
  measured = none();
  keepAt = Infinity;
  return (keeping = keeping.then(async () => {
    if (isOn && (taken.windows.size || taken.events[0] || taken.drops[0]))
      for (const storage of STORAGES)
        try {
          isOn &&= await queue.keep(storage, by, of, taken);
          sendAt = Math.min(sendAt, performance.now() + by.intervalMs);
          break;
        } catch {}
  }));
}

/** Sends what is due, if no other tab does. */
function send(isAsked = false, isEnd = false): Promise<unknown> {
  weight = 0;
  const work = async (lock: unknown) => {
    let wait = KEEP_AFTER_MS;
    if (lock) {
      wait = 36e5;
      for (const storage of STORAGES)
        await safely(async () => {
          while (isOn) {
            const job = await queue.next(storage, limits, identity, isAsked);
            if (typeof job === 'number') {
              wait = Math.min(wait, job);
              break;
            }
            if (isEnd) return postLast(options.url, job);
            await one(storage, job);
          }
        });
    }
    sendAt = performance.now() + wait;
    ring();
  };
  const { locks } = navigator;
  return (sending ||= (locks ? locks.request('tillwatch', { ifAvailable: !isAsked }, work) : work(1))
    .catch(() => {})
    .finally(() => (sending = undefined)));
}

/** Makes one request. */
async function one(storage: typeof durable, job: queue.Job): Promise<void> {
  const { token, url } = options;
  const { to } = job;
  const given = async () => (typeof token === 'function' && to.terminal === identity.terminal ? await token() : undefined);
  to.token ||= await safely(given);
  const { outcome, status, tookMs, code } = await post(url, job);
  state.posts++;
  state.answer = status;
  state.code = code;
  if (!status) connect('offline');
  else if (!job.isBacklog) {
    const { saveData, effectiveType } = (navigator as any).connection || {};
    connect(tookMs > 3000 || /2g/.test(effectiveType) ? 'slow' : saveData ? 'metered' : 'online');
    record('network_latency_ms', tookMs, 0);
  }
  if (outcome.is === 'taken') state.takenAt = Date.now();
  else if (code && outcome.is !== 'later') warn(code);
  await queue.settle(storage, job, outcome);
  const next = status === 401 && ((await safely(given)) || (code === 'token_expired' && (await renewed(url, to.token))));
  if (next) await queue.wake(storage, next, to.k);
}

/** Takes one value in the wire unit. A mistake is said on the console and counted as a loss. */
export function record(name: string, value: number, kind: number, { label, connection }: Extra = {}): void {
  if (!isOn) return;
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
  const t = queue.tillTime();
  const minute = t - (t % 6e4);
  if (!measured.windows.has(minute)) measured.windows.set(minute, {});
  add(measured.windows.get(minute)!, `${name}|${metric![3] ? label : ''}|${connection || state.connection}`, kind, recorded, t);
  weight += name[0] === 'd' && name[1] === 'a' ? 50 : 1;
  keepSoon();
}

function happen(event: queue.TerminalEvent): void {
  if (!isOn) return;
  const { events } = measured;
  const same = event.count && events.find((other) => other.type === event.type && other.message === event.message);
  if (same) same.count!++;
  else if (events[queue.LIST_MAX - 1]) return drop('quota');
  else events.push({ ...event, connection: state.connection });
  weight += 50;
  keepSoon();
}

export const error = (thrown: unknown, isFatal?: boolean): void => happen(eventOf(thrown, queue.tillTime(), isFatal));

export const event = (k: string, name?: string): void => happen({ k, name, t: queue.tillTime() });

function drop(reason: string, samples = 1): void {
  state.dropped[reason] = (state.dropped[reason] || 0) + samples;
  const same = measured.drops.find((other) => other.reason === reason);
  if (same) same.samples += samples;
  else measured.drops.push({ samples, reason, t: queue.tillTime() });
  keepSoon();
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
export async function retry(): Promise<void> {
  for (const storage of STORAGES) await safely(() => queue.wake(storage));
  sendAt = 0;
  ring();
}

export async function setConsent(isGiven: boolean): Promise<void> {
  isOn = isGiven;
  if (!isGiven) measured = none();
  sendAt = 0;
  ring();
  await keeping;
  for (const storage of STORAGES) await safely(() => (isGiven ? queue.consent(storage) : queue.clear(storage, true)));
}

export async function erase(): Promise<void> {
  measured = none();
  await keeping;
  for (const storage of STORAGES) await safely(() => queue.clear(storage, !isOn));
}

export async function flush(): Promise<void> {
  await keep();
  await sending;
  await send(true);
}

export async function status(): Promise<Status> {
  await keep();
  return { ...state, waiting: queue.waiting };
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

export { scrub, LEVEL };
