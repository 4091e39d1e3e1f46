/** One request to the collector, and what its answer means. */
import { type Job, type Outcome } from './queue';
/** Posts a batch, and says whether it may be deleted, the status, how long it took, and the code of a refusal. */
export declare const post: (url: string, job: Job) => Promise<[...Outcome, status: number, tookMs: number, code?: string]>;
/** Posts a batch of a page that ends. Nobody hears the answer, so the batch stays. Says when to look again, in ms. */
export declare const postLast: (url: string, job: Job) => number;
/** The next token of a family, for one that has run out. */
export declare const renewed: (url: string, token?: string) => Promise<string | undefined>;
