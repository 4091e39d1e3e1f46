// The page's end of the live stream: what was pushed, as signals. The stream is held by a shared worker, or by the page itself.
import { batch, effect, signal, untracked } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { Fleet, joined } from './live';
import { heard, isKeyWanted, isLost, isVisible, link, pass, returns } from './state';
import { Hub, type Page, type Said, type Want } from './stream';
import type { Change, Detail, FleetValues, Pipeline } from './types';

declare const WORKER: string;

export const fleet = new Fleet();
/** Grows when there are other stores than before. */
export const shape = signal(0);
/** Grows once in a frame of the screen in which something of the fleet has changed. */
export const frame = signal(0);
export const sums = signal<FleetValues>({});
export const details = signal<{ topic: string; store: Detail | null; t: number } | null>(null);
export const pipeline = signal<Pipeline | null>(null);
/** The newest first. */
export const changes = signal<Change[]>([]);
/** The status with which the stream was refused, or 0. */
export const refusedWith = signal(0);
/** How far the collector's clock is ahead of this browser's. */
export const ahead = signal(0);

/** The sums are drawn twice a second at most, so that other frames have the time to put stores in order. */
const SUMS_MS = 400;
let summedAt = 0;
/** The frame in which the sums were drawn last. */
export let summedIn = 0;
let isDue = false;
let trailing: ReturnType<typeof setTimeout> | undefined;
function draw(): void {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame((at) => {
    isDue = false;
    const wait = summedAt + SUMS_MS - at;
    batch(() => {
      frame.value += 1;
      pass(true);
      if (wait <= 0) { sums.value = fleet.all; summedAt = at; summedIn = frame.value; }
    });
    clearTimeout(trailing);
    // The next frame does it, if one comes.
    if (wait > 0) trailing = setTimeout(draw, SUMS_MS);
  });
}

const SKEW_MS = 2_000;
function clock(t: number): void {
  const skew = t - Date.now();
  const far = Math.abs(skew) < SKEW_MS ? 0 : skew;
  if (Math.abs(far - ahead.value) > 1000) ahead.value = far;
}

function take(said: Said): void {
  if (said.kind === 'link') {
    batch(() => {
      link.value = said.link;
      refusedWith.value = said.status;
      if (said.status === 401) isKeyWanted.value = true;
      // Somebody has signed in, maybe on another page.
      else if (said.link === 'live' && isKeyWanted.value) { isKeyWanted.value = false; returns.value += 1; }
      if (said.link === 'lost') isLost.value = true;
      else if (said.link === 'live' || said.link === 'polling') heard();
    });
    return;
  }
  heard();
  if (said.kind === 'rows') { fleet.apply(said); clock(said.t); draw(); }
  else if (said.kind === 'fleet') {
    const isOther = fleet.load(said);
    clock(said.t);
    batch(() => {
      sums.value = fleet.all;
      if (isOther || !shape.value) shape.value += 1;
    });
    draw();
  } else if (said.kind === 'minute') { fleet.pass(said); draw(); }
  else if (said.kind === 'change') changes.value = [said.change, ...changes.value].slice(0, 200);
  else if (said.kind === 'store') { clock(said.t); details.value = said; }
  else if (said.kind === 'unpushed') { if (details.value?.topic === said.topic) details.value = null; }
  else if (said.kind === 'pipeline') pipeline.value = said.isWhole ? said.pipeline : joined(pipeline.value, said.pipeline);
}

// --- where the stream is held

/** The one address that may become a script. */
const policy = (): { createScriptURL: (address: string) => string } => {
  const rules = { createScriptURL: (address: string): string => { if (address !== './' + WORKER) throw new TypeError('Not a script of this page.'); return address; } };
  const types = (globalThis as unknown as { trustedTypes?: { createPolicy: (name: string, of: typeof rules) => typeof rules } }).trustedTypes;
  return types ? types.createPolicy('tillwatch', rules) : rules;
};
const PATIENCE_MS = 4_000;

function held(): Page {
  let page: Page | null = null;
  let port: MessagePort | null = null;
  let last: Want | null = null;
  let isTurned = false;
  const instead = (): void => {
    clearTimeout(timer);
    if (isTurned) return;
    isTurned = true;
    port?.close();
    port = null;
    page = new Hub().join(take);
    if (last) page.want(last);
  };
  // A worker that says nothing is none.
  const timer = setTimeout(instead, PATIENCE_MS);
  try {
    const worker = new SharedWorker(policy().createScriptURL('./' + WORKER), { name: 'tillwatch', type: 'module' });
    worker.onerror = instead;
    port = worker.port;
    port.onmessage = ({ data }: MessageEvent<Said>) => { clearTimeout(timer); if (!isTurned) take(data); };
  } catch { instead(); }
  return {
    want: (want) => { last = want; page?.want(want); port?.postMessage(want); },
    leave: () => { last = null; page?.leave(); port?.postMessage(null); },
  };
}

// --- what this page looks at

const topics = signal<string[]>([]);
let hub: Page | null = null;
const want = (isBack?: boolean): void => {
  if (!hub && !topics.value.length) return;
  hub ??= held();
  hub.want({ topics: topics.value, isVisible: isVisible.value, seq: fleet.seq, isBack });
};
effect(() => want());
// A key was shown, or a question was answered: nobody waits for the next try.
effect(() => { if (returns.value && link.peek() !== 'live') untracked(() => want(true)); });
setInterval(() => { if (isVisible.value) want(); }, 20_000);
addEventListener('pagehide', () => hub?.leave());
addEventListener('pageshow', (event) => { if (event.persisted) want(); });

const counts = new Map<string, number>();
let isTurning = false;
function count(topic: string, by: number): void {
  counts.set(topic, (counts.get(topic) ?? 0) + by);
  if (isTurning) return;
  // One view goes and the next comes, and that is one change.
  isTurning = true;
  setTimeout(() => {
    isTurning = false;
    const found = [...counts].filter(([, n]) => n > 0).map(([topic]) => topic).sort();
    if (found.join() !== topics.value.join()) topics.value = found;
  });
}

/** Has these topics pushed while the component is shown. Topics are joined by commas where they are compared only. */
export function useLive(...wanted: string[]): void {
  useEffect(() => {
    wanted.forEach((topic) => count(topic, 1));
    return () => wanted.forEach((topic) => count(topic, -1));
  }, [wanted.join('\n')]);
}
