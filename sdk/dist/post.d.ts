/** One request to the collector, and what its answer means. */
import { type Answer, type Job } from './queue';
/** `fetch` with an end. */
export declare const ask: (url: string, token: string | undefined, body?: BodyInit, keepalive?: boolean) => Promise<Answer>;
/** Posts a batch. */
export declare const post: (url: string, job: Job) => Promise<Answer>;
/** Posts a batch of a page that ends. Nobody hears the answer, so the batch stays. Says when to look again, in ms. */
export declare const postLast: (url: string, job: Job) => number;
