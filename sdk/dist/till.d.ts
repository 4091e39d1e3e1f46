/** The terminal: takes measurements from the page, keeps them, and sends them when it can. */
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
    metrics?: {
        [name: string]: {
            call: 'observe' | 'count' | 'level';
            labels?: string[];
        };
    };
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
    waiting: {
        samples: number;
        bytes: number;
    };
    /** How many requests this page made, and when the collector last took something (Unix ms). */
    posts: number;
    takenAt?: number;
    /** The last answer: its status (0: none), and the code of a refusal. */
    answer?: number;
    code?: string;
    /** How many samples this page had to drop, by reason. */
    dropped: {
        [reason: string]: number;
    };
}
/** Called when the page is hidden or left, and every ten minutes without an event, so that what is known only at the end is recorded. */
export declare const atEnd: ((event?: Event) => void)[];
/** Called when the connection has changed. */
export declare const atSwitch: ((to: Connection, from: Connection) => void)[];
/** Calls all of them. */
export declare const tell: <A extends unknown[]>(all: ((...given: A) => void)[], ...given: A) => void;
/** Begins to take measurements, or goes on as another till. What `watches` begins when the page first allows it. */
export declare const start: (given: Options, ...watches: (() => void)[]) => void;
/** Takes one value in the wire unit. A mistake is said on the console and counted as a loss. */
export declare const record: (name: string, value: number, kind: number, given_3?: Extra | undefined) => void;
/** Begins to measure a duration, and gives what ends it. */
export declare const begun: (name: string, extra?: Extra) => () => void;
export declare const error: (thrown: unknown, isFatal?: boolean) => void;
export declare const event: (k: string, name?: string) => void;
/** The connection, as answers and the browser tell it. */
export declare const connect: (to: Connection) => void;
/** The browser says that there is a network. Only an answer proves it. */
export declare const retry: (withinMs: number) => Promise<void>;
/** Takes note whether there is consent; without either, everything is erased and nothing else changes. */
export declare const consent: (isGiven?: boolean) => Promise<void>;
export declare const flush: () => Promise<void>;
export declare const status: () => Promise<Status>;
/** The page is hidden or ends. */
export declare const leave: (why: Event) => Promise<void>;
