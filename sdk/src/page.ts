/** What a page measures by itself, web vitals apart. */

import { count, error, level, observe } from './api';
import { guarded } from './safely';
import { atEnd, connect, leave, retry, tell } from './till';

/** Listens after the page's own listeners, or before them. Only after them an `error` is one of a script. */
export const listen = (type: string, work: (event: any) => void, isBefore?: boolean): void => addEventListener(type, guarded(work), isBefore);

/** Shorter events do not count for INP. Browsers that do not count interactions tell of all, so that they can be counted. */
export const EVENT_MS = 40;

/** Observes what the browser knows of these types. */
export const watchEntries = (take: (entries: any[]) => void, ...types: string[]): PerformanceObserver => {
  const observer = new PerformanceObserver((list) => take(list.getEntries()));
  for (const type of types)
    if (PerformanceObserver.supportedEntryTypes.includes(type)) observer.observe({ type, buffered: true, durationThreshold: (performance as any).interactionCount >= 0 && EVENT_MS } as any);
  return observer;
};

const measureStorage = async (): Promise<void> => {
  const { usage, quota, usageDetails } = (await navigator.storage.estimate()) as any;
  level('storage_used_ratio', Math.min(1, usage / quota));
  level('db_size_mb', (usageDetails?.indexedDB ?? usage) / 1e6);
};

/** Listens and observes, for as long as the page lives. */
export const watch = (): void => {
  listen('error', (event) => error(event.error || event));
  listen('unhandledrejection', ({ reason }) => error(reason));
  listen('online', () => retry(2000));
  listen('offline', () => connect('offline'));
  listen('pagehide', leave);
  listen('visibilitychange', (event) => document.hidden && leave(event));
  watchEntries(([{ loadEventEnd, workerStart, fetchStart, transferSize }]) => {
    if (loadEventEnd) observe('page_load_ms', loadEventEnd);
    // Nothing came over the line: a cache or the service worker had the page.
    if (loadEventEnd && transferSize === 0) observe('page_load_cached_ms', loadEventEnd);
    if (workerStart) observe('service_worker_boot_ms', fetchStart - workerStart);
  }, 'navigation');
  watchEntries(({ length }) => count('long_animation_frames', { by: length }), 'long-animation-frame');
  const measure = (everyMs: number, work: () => unknown) => {
    setTimeout(guarded(work), 1000);
    setInterval(guarded(work), everyMs);
  };
  measure(6e4, () => level('memory_used_mb', (performance as any).memory.usedJSHeapSize / 1e6));
  measure(6e5, measureStorage);
  setInterval(() => tell(atEnd), 6e5);
};
