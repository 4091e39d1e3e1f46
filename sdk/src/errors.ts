/** What an error is to the collector: its type, its message without what belongs to persons, and its stack. */

import type { Frame, TerminalEvent } from './queue';

/**
 * Takes out of a text what may tell about a person: quoted text, e-mail addresses, tokens, long numbers. The collector
 * does it once more, and more thoroughly; this is so that it does not leave the till.
 */
export const scrub = (text: unknown, max = 300): string =>
  ('' + text)
    .slice(0, 1000)
    .replace(/"[^"]*("|$)|`[^`]*(`|$)|“[^”]*(”|$)|\B['‘].*?['’](?!\w)/gs, '*')
    .replace(/[?#]\S{0,99}=\S*/g, '')
    .replace(/[^\s<>()[\],;:/]{1,99}(@|%40)[^\s<>()[\],;:/]+|(?=[\w+=-]{0,99}\d)[\w+=-]{20,}/g, '*')
    .replace(/\d{4,}/g, '0')
    .slice(0, max);

/** An error with the lines of its stack, as Chromium (`at pay (address:1:2)`) or others (`pay@address:1:2`) write them. */
export const eventOf = (error: any, t: number, fatal?: boolean): TerminalEvent => {
  const frames: Frame[] = [];
  // Lines and stacks have bounds, because whoever throws may write anything.
  for (const text of ('' + error?.stack).slice(0, 9999).split('\n')) {
    const [, fn, module, line, col] = /^ *(?:at )?(?:(.*?) ?[(@])?([^\s(@]+?):(\d+):(\d+)\)?$/.exec(text.slice(0, 500)) || [];
    if (module) frames.push({ fn: scrub(fn || '', 100), module: module.replace(/[?#].*/, '').replace(/^\w+:\/\/.*\//, '').slice(0, 200), line: +line, col: +col });
  }
  return {
    k: 'error',
    t,
    type: scrub(error?.name || 'Error', 100),
    message: scrub(error?.message ?? error),
    frames: frames.slice(0, 20),
    count: 1,
    fatal,
  };
};
