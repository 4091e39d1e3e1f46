/** What an error is to the collector: its type, its message without what belongs to persons, and its stack. */
import type { TerminalEvent } from './queue';
/**
 * Takes out of a text what may tell about a person: quoted text, e-mail addresses, tokens, long numbers. The collector
 * does it once more, and more thoroughly; this is so that it does not leave the till.
 */
export declare const scrub: (text: unknown) => string;
/** An error with the lines of its stack, as Chromium (`at pay (address:1:2)`) or others (`pay@address:1:2`) write them. */
export declare const eventOf: (error: any, fatal?: boolean) => Omit<TerminalEvent, 't'>;
