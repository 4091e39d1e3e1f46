/**
 * The queue of a till: what was measured and is not known to be with the collector.
 *
 * *Rows* hold what was measured in a window. They have no number, and are merged into longer windows while they wait. A
 * *batch* is made of rows in the transaction that deletes them; it has a number and never changes, because from its first
 * attempt on nobody knows whether the collector has it. It is deleted when the collector has said so. There is at most
 * one live batch and one of backlog at a time, so that as little as possible has a number while nothing gets through.
 *
 * All of it is done in transactions of the storage, so that any number of tabs and a service worker share one queue.
 * Fields have one letter because they lie in IndexedDB as they are.
 */
import { type SeriesByKey } from './series';
import { type Storage } from './storage';
/** At most so many events and drops go into a batch, and so many rows are looked at in a transaction. */
export declare const LIST_MAX = 50;
/** So many samples do not wait until the interval is over. */
export declare const MANY = 500;
/** What is posted as live, and what as backlog. */
declare const LIVE = 0;
declare const BACKLOG = 1;
type Class = typeof LIVE | typeof BACKLOG;
/** Something that happened. The names are those of the wire format, as in the next two. */
export interface TerminalEvent {
    k: string;
    t: number;
    name?: string;
    type?: string;
    message?: string;
    frames?: Frame[];
    count?: number;
    fatal?: boolean;
    connection?: string;
}
/** A line of a stack. */
export interface Frame {
    fn?: string;
    module?: string;
    line?: number;
    col?: number;
}
/** What will never come, and why. */
export interface Drop {
    queue?: string;
    from?: number;
    to?: number;
    samples: number;
    reason: string;
    t: number;
}
/** Only events have a `k`. */
export type Happened = (TerminalEvent & {
    reason?: undefined;
}) | (Drop & {
    k?: undefined;
});
/** Who posts: the store and the terminal with a line break between them, the release and the session as the JSON of both, and the page's token. */
export type Identity = [whose: string, g: string, token?: string];
/** What was measured and waits to be kept. */
export type Measured = [windows: {
    [t: number]: SeriesByKey;
}, happened: Happened[]];
/**
 * Whose it is, the urgency, the beginning of the window, its span, and the release and the session. What is urgent has a
 * time and a random number.
 */
type RowKey = [whose: string, urgency: number, t: number, spanMs: number, g: string];
/** What waits. */
interface Waiting {
    k: ['r', ...RowKey] | ['b', string, Class];
    /** How many samples it holds or says are lost, and about how many bytes it takes. */
    w: number;
    z: number;
}
/** What has been given a number. */
export interface Batch extends Waiting {
    /** `b`, whose it is, and the class. */
    k: ['b', string, Class];
    /** Its text, its queue and its number there. */
    b: string;
    q: string;
    n: number;
    /** When the oldest of it was measured, and how often it was tried. */
    t: number;
    a: number;
}
/** How one till is numbered. A till that is given another store or terminal begins anew, and the old one is drained. */
export interface Numbering {
    /** The queue's id, and the next number in it. */
    q: string;
    n: number;
    /** The token that the page gave, and the one that was made of it. */
    given?: string;
    token?: string;
    /** By class: when to try next, how often the last attempts failed, and until when the collector asked to wait. */
    x: number[];
    f: number[];
    r: number[];
    /** When a live request went out last. */
    d: number;
    /** How far each tier has been merged, by its span. */
    c: {
        [spanMs: number]: number;
    };
}
/** What all tabs share. */
interface State {
    k: ['s'];
    /** By how much the till's time is ahead of the wall clock, and the latest time that was seen. */
    s: number;
    l: number;
    /** When requests were made in the last minute. */
    m: number[];
    /** How many samples wait, and about how many bytes they take. */
    w: number;
    z: number;
    /** When bounds were looked after last. */
    g: number;
    /** The numberings, by store and terminal. */
    n: {
        [whose: string]: Numbering;
    };
    /** What became rows last: it may come a second time, from a page that did not see it kept. */
    h: string[];
    /** Consent was withdrawn. */
    off?: boolean;
}
/** A request to be made. */
export type Job = [to: Numbering, batch: Batch];
/**
 * What came of a request: the status (0: no answer), what the collector said (a code of `error`, or `accepted`, whether it
 * knew the number, `duplicate`, and with other content, `conflicting`), for how long it asks to wait, and how long it took.
 */
export type Answer = [status: number, json: any, afterMs: number, tookMs: number];
/** What may wait and for how long, how often a till posts that has little to say, and how much slower it is now. */
export declare const limits: [bytesMax: number, ageMaxMs: number, intervalMs: number, times: number];
/** A UUID. `crypto.randomUUID` asks for a secure context; elsewhere the address of a blob ends with one. */
export declare const uuid: () => string;
export declare const floor: (t: number, spanMs?: number) => number;
/**
 * The till's time in Unix ms: the wall clock, but it never runs back. By how much it is wrong does not matter, because
 * `sent_at_ms` is of the same clock and the collector corrects by it.
 */
export declare const tillTime: () => number;
/** How many samples were dropped since the page was loaded, by reason. */
export declare const dropped: {
    [reason: string]: number;
};
/**
 * Keeps what was measured; it is as durable as the storage when this returns. Nothing is read here, because a page that
 * ends has only one moment. Whoever sends next makes rows of it.
 */
export declare const keep: (of: Identity, measured: Measured) => Promise<void>;
/**
 * A transaction that waits for another one, or for the database to open, ends with its page. So a page that may end
 * hands what is on its way over in `localStorage`, which does not wait. It is then kept there or in IndexedDB or in both.
 */
export declare const handOver: () => void;
/** What waits, in all tabs: how many samples, and about how many bytes they take. */
export declare const look: (storage: Storage) => Promise<State>;
/** Seals what is due and says what to post now, or for how many ms to wait. If asked, what is live is due at once. */
export declare const next: (storage: Storage, of: Identity, isAsked: boolean) => Promise<number | Job>;
/** Takes note of what came of a request, and of the token that the next one has. */
export declare const settle: (storage: Storage, [{ token }, batch]: Job, [status, json, afterMs]: Answer, next?: string | false) => Promise<void>;
/**
 * The network may be back: whatever failed without an answer is tried within so many ms. Takes note of consent, too, if it
 * was given or withdrawn, and deletes everything if asked.
 */
export declare const change: (storage: Storage, withinMs: number, isGiven?: boolean, isErased?: boolean) => Promise<void>;
export {};
