/** What an error is to the collector: its type, its message without what belongs to persons, and its stack. */

import type { Frame, TerminalEvent } from './queue';

/**
 * Takes out of a text what may tell about a person: quoted text, e-mail addresses, tokens, long numbers. The collector
 * does it once more, and more thoroughly; this is so that it does not leave the till.
 */
export const scrub = (text: unknown): string =>
  ('' + text)
    .slice(0, 1000)
    .replace(/(["`]).*?(\1|$)|“.*?(”|$)|\B['‘].*?['’](?!\w)/gs, '*')
    .replace(/[?#]\S{0,99}=\S*/g, '')
    .replace(/[^\s<>()[\],;:/]{1,99}(@|%40)[^\s<>()[\],;:/]+|(?=[\w+=-]{0,99}\d)[\w+=-]{20,}/g, '*')
    .replace(/\d{4,}/g, '0');

/** An error with the lines of its stack, as Chromium (`at pay (address:1:2)`) or others (`pay@address:1:2`) write them. */
export const eventOf = (error: any, fatal?: boolean): Omit<TerminalEvent, 't'> => {
  const frames: Frame[] = [];
  // Lines and stacks have bounds, because whoever throws may write anything.
  for (const text of ('' + error?.stack).slice(0, 5000).split('\n')) {
    const [, fn, module, line, col] = /^ *(?:at )?(?:(.*?) ?[(@])?([^\s(@]+?):(\d+):(\d+)\)?$/.exec(text.slice(0, 500)) || [];
    if (module) frames.push({ fn: scrub(fn || ''), module: module.replace(/[?#].*|^\w+:\/\/[^?#]*\//g, ''), line: +line, col: +col });
  }
  return {
    k: 'error',
    type: scrub(error?.name ?? ''),
    message: scrub(error?.message ?? error),
    frames,
    count: 1,
    fatal: !!fatal,
  };
};
