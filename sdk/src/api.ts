/** What a page calls. Nothing of it throws, and nothing of it waits. */

import { guarded } from './safely';
import { COUNTER, DISTRIBUTION, LEVEL } from './series';
import * as till from './till';
import { begun } from './till';
import type { Connection, Extra, Options, Status } from './till';

export type { Connection, Extra, Options, Status };

declare const VERSION: string;

/** The version of this library. */
export const version = VERSION;

/** Records a duration, a size or a score, in the unit that ends the metric's name. */
export const observe: (metric: string, value: number, extra?: Extra) => void = (metric, value, extra) =>
  till.record(metric, value, DISTRIBUTION, extra);

/** Counts something, once or `by` times. */
export const count: (metric: string, extra?: Extra & { by?: number }) => void = (metric, extra) =>
  till.record(metric, extra?.by ?? 1, COUNTER, extra);

/** Says how much there is of something now. */
export const level: (metric: string, value: number) => void = (metric, value) => till.record(metric, value, LEVEL);

/** Measures how long `work` takes: a function, what it promises, or a promise. Returns what `work` gives. */
export const time = <T>(metric: string, work: T | (() => T), extra?: Extra): T => {
  const end = begun(metric, extra);
  let result: any;
  try {
    result = (work as any)?.call ? (work as () => T)() : work;
    return result;
  } finally {
    if (result?.then) result.then(end, end);
    else end();
  }
};

/** Reports an error that the page has caught. */
export const error: (thrown: unknown, isFatal?: boolean) => void = guarded(till.error);

/** Reports that something happened: `offline`, `online`, `shutdown`, `battery`, or `custom` with a name. */
export const event: (kind: 'offline' | 'online' | 'shutdown' | 'battery' | 'custom', name?: string) => void = guarded(till.event);

/** Makes everything durable and sends what waits; it ends when the collector has answered or cannot be reached. */
export const flush: () => Promise<void> = guarded(till.flush);

/** What waits, what was dropped, and how the collector answers. */
export const status: () => Promise<Status> = till.status;

/** Takes note that whoever works at the till agrees, or not any more: then what waits is deleted. */
export const setConsent: (isGiven: boolean) => Promise<void> = (isGiven) => till.consent(!!isGiven);

/** Deletes everything that waits, and the identity of the queue. */
export const erase: () => Promise<void> = () => till.consent();
