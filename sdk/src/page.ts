/** What a page measures by itself, web vitals apart. */

import { count, error, level, observe } from './api';
import { safely } from './safely';
import { atEnd, connect, leave, retry } from './till';

/** Listens after the page's own listeners, or before them. Only after them an `error` is one of a script. */
export const listen = (type: string, work: (event: any) => void, isBefore?: boolean): void => addEventListener(type, work, isBefore);

const watchEntries = (type: string, take: (entries: any[]) => void) =>
  safely(() => new PerformanceObserver((list) => take(list.getEntries())).observe({ type, buffered: true }));

const measureStorage = async (): Promise<void> => {
  const { usage = 0, quota = 0, usageDetails } = (await navigator.storage.estimate()) as any;
  level('storage_used_ratio', Math.min(1, usage / quota));
  level('db_size_mb', (usageDetails?.indexedDB ?? usage) / 1e6);
};

/** Listens and observes, for as long as the page lives. */
export const watch = (): void => {
  listen('error', (event) => error(event.error || event));
  listen('unhandledrejection', ({ reason }) => error(reason));
  listen('online', () => retry());
  listen('offline', () => connect('offline'));
  listen('pagehide', () => leave(true));
  listen('visibilitychange', () => document.hidden && leave(false));
  watchEntries('navigation', ([{ loadEventEnd, workerStart, fetchStart, transferSize }]) => {
    if (loadEventEnd) observe('page_load_ms', loadEventEnd);
    // Nothing came over the line: a cache or the service worker had the page.
    if (loadEventEnd && transferSize === 0) observe('page_load_cached_ms', loadEventEnd);
    if (workerStart) observe('service_worker_boot_ms', fetchStart - workerStart);
  });
  watchEntries('long-animation-frame', ({ length }) => count('long_animation_frames', { by: length }));
  const measure = (everyMs: number, work: () => unknown) => {
    setTimeout(() => safely(work), 1000);
    setInterval(() => safely(work), everyMs);
  };
  measure(6e4, () => level('memory_used_mb', (performance as any).memory.usedJSHeapSize / 1e6));
  measure(6e5, measureStorage);
  setInterval(() => atEnd.map(safely), 6e5);
};
