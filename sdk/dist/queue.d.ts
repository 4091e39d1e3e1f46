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
/** Who posts. */
export interface Identity {
    store: string;
    terminal: string;
    token?: string;
    /** The release and the session, as the JSON of a list. */
    g: string;
}
/** What was measured and waits to be kept. */
export type Measured = [windows: {
    [t: number]: SeriesByKey;
}, events: TerminalEvent[], drops: Drop[]];
/** What waits. */
interface Waiting {
    k: ['r', string, number, number, number, number] | ['b', string, Class];
    /** How many samples it holds, about how many bytes it takes, and how many more samples its losses stand for. */
    w: number;
    z: number;
    y: number;
}
/** What has been given a number. */
interface Batch extends Waiting {
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
    store: string;
    terminal: string;
    /** The token that the page gave, and the one that was made of it. */
    given?: string;
    token?: string;
    /** By class: when to try next, how often the last attempts failed, and until when the collector asked to wait. */
    x: number[];
    f: number[];
    r: number[];
    /** When a live request went out last. */
    d: number;
    /** How far each tier has been merged. */
    c: number[];
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
    h?: string[];
    /** Consent was withdrawn. */
    off?: boolean;
}
/** A request to be made. */
export type Job = [to: Numbering, batch: Batch];
/** What came of a request; more than these are reasons for dropping it. */
export declare const TAKEN = 0;
export declare const LATER = 1;
export declare const DENIED = 2;
/**
 * What became of it, what the collector said (whether it knew the number, `duplicate`, and with other content,
 * `conflicting`), and for how long it asks to wait.
 */
export type Outcome = [is: typeof TAKEN | typeof LATER | typeof DENIED | 'too_large' | 'refused', json: any, afterMs: number];
/** What may wait and for how long, how often a till posts that has little to say, and how much slower it is now. */
export type Limits = [bytesMax: number, ageMaxMs: number, intervalMs: number, times: number];
/** A UUID. `crypto.randomUUID` asks for a secure context; elsewhere the address of a blob ends with one. */
export declare const uuid: () => string;
export declare const whoseOf: ({ store, terminal }: {
    store: string;
    terminal: string;
}) => string;
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
export declare const look: (storage: Storage, limits: Limits) => Promise<State>;
/** Seals what is due and says what to post now, or for how many ms to wait. If asked, what is live is due at once. */
export declare const next: (storage: Storage, limits: Limits, of: Identity, isAsked: boolean) => Promise<number | Job>;
/** Takes note of what came of a request, and of the token that the next one has. */
export declare const settle: (storage: Storage, [{ token }, batch]: Job, [is, json, afterMs]: Outcome, next?: string | false) => Promise<void>;
/** The network may be back: whatever failed without an answer is tried soon. */
export declare const wake: (storage: Storage, withinMs: number, isOff?: boolean) => Promise<void>;
/** Takes note of consent: with it a page tries at once to send; without it nothing is kept. Else deletes everything. */
export declare const consent: (storage: Storage, isGiven?: boolean) => Promise<void>;
export {};
