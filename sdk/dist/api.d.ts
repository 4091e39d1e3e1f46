/** What a page calls. Nothing of it throws, and nothing of it waits. */
import type { Connection, Extra, Options, Status } from './till';
export type { Connection, Extra, Options, Status };
/** The version of this library. */
export declare const version: string;
/** Records a duration, a size or a score, in the unit that ends the metric's name. */
export declare const observe: (metric: string, value: number, extra?: Extra) => void;
/** Counts something, once or `by` times. */
export declare const count: (metric: string, extra?: Extra & {
    by?: number;
}) => void;
/** Says how much there is of something now. */
export declare const level: (metric: string, value: number) => void;
/** Measures how long `work` takes: a function, what it promises, or a promise. Returns what `work` gives. */
export declare const time: <T>(metric: string, work: T | (() => T), extra?: Extra) => T;
/** Reports an error that the page has caught. */
export declare const error: (thrown: unknown, isFatal?: boolean) => void;
/** Reports that something happened: `offline`, `online`, `shutdown`, `battery`, or `custom` with a name. */
export declare const event: (kind: 'offline' | 'online' | 'shutdown' | 'battery' | 'custom', name?: string) => void;
/** Makes everything durable and sends what waits; it ends when the collector has answered or cannot be reached. */
export declare const flush: () => Promise<void>;
/** What waits, what was dropped, and how the collector answers. */
export declare const status: () => Promise<Status>;
/** Takes note that whoever works at the till agrees, or not any more: then what waits is deleted. */
export declare const setConsent: (isGiven: boolean) => Promise<void>;
/** Deletes everything that waits, and the identity of the queue. */
export declare const erase: () => Promise<void>;
