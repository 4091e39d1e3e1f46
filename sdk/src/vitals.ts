/**
 * Web vitals of a page that stays open all day, by the definitions of the specifications and as Google's `web-vitals`
 * measures them: a test compares both on the same pages.
 *
 * A page has *visits*: the first, one for each soft navigation, and one for each return from the back/forward cache.
 * LCP, FCP and TTFB are recorded when they are final. INP and CLS grow for as long as a visit lasts, so the last value
 * counts: when the page is hidden or left, at the end of the visit, and every ten minutes on a till that does none of
 * these. What has not changed since is not recorded again.
 */

import { observe } from './api';
import { EVENT_MS, listen, watchEntries } from './page';
import { atEnd } from './till';

/** So many of the longest interactions are kept, and one in so many may be longer than INP. */
const LONGEST = 10;
const INTERACTIONS_PER_LONGER = 50;

/** An interaction of which nothing else is known took about 8 ms. */
const SHORT_MS = 8;

/** After an input there is no new candidate for LCP, but one may be on its way. */
const ON_ITS_WAY_MS = 500;

const TYPES = ['largest-contentful-paint', 'paint', 'layout-shift', 'event', 'first-input', 'soft-navigation', 'interaction-contentful-paint'];

const page: any = self.document;

/** When the page was shown, if it was rendered before, and when it was hidden: what it paints after that says nothing. */
let shownAt = 0;
let hiddenAt = 0;
/** The first byte, unless the browser keeps it to itself or says nonsense. */
let firstByte: number | undefined;
let observer: PerformanceObserver;
/** CLS counts once something was painted, if the browser knows shifts. */
let knowsShifts = false;
let isPainted = false;

/** How many visits there were before this one, and the interaction that began it as a soft navigation. */
let visits = 0;
let cause: number | undefined;
let lcp: number | undefined;
/** The greatest sum of shifts less than 1 s apart in less than 5 s, and the present sum with its first and last shift. */
let cls = 0;
let shifts = 0;
let firstShift = 0;
let lastShift = 0;
/** The longest interactions by their ids, and how many there were before the visit. */
let longest: [ms: number, id: number][] = [];
let before = 0;
/** What was recorded last of what grows. */
let recorded: { [metric: string]: number } = {};

/** Browsers that do not count interactions raise their ids by seven. */
let firstId = 0;
let greatestId = 0;
const interactions = (): number =>
  (performance as any).interactionCount ?? (greatestId && (greatestId - firstId) / 7 + 1);

const since = (t: number, start = shownAt) => Math.max(t - start, 0);

const firstHidden = () => (page.hidden ? 0 : Infinity);

const record = (metric: string, value?: number): void => {
  if (value !== recorded[metric]) observe(metric, (recorded[metric] = value!));
};

/** Records what grows. */
const recordGrowing = (): void => {
  const n = interactions() - before;
  const [ms] = longest[Math.floor(n / INTERACTIONS_PER_LONGER)] || longest.at(-1) || [];
  record('inp_ms', ms ?? (visits && n ? SHORT_MS : undefined));
  if (isPainted && knowsShifts) record('cls_score', cls);
};

/** LCP is final. */
const endLcp = (): void => {
  if (!('lcp_ms' in recorded)) record('lcp_ms', lcp);
};

const painted = (fcp: number): void => {
  isPainted = true;
  observe('fcp_ms', fcp);
};

const beginVisit = (): void => {
  visits++;
  lcp = undefined;
  cls = shifts = 0;
  longest = [];
  before = interactions();
  recorded = {};
  if (firstByte) observe('ttfb_ms', 0);
};

const takeShift = ({ startTime, value, hadRecentInput }: any): void => {
  if (hadRecentInput) return;
  if (!shifts || startTime - lastShift >= 1000 || startTime - firstShift >= 5000) {
    shifts = 0;
    firstShift = startTime;
  }
  lastShift = startTime;
  cls = Math.max(cls, (shifts += value));
};

const takeInteraction = ({ entryType, duration, interactionId: id }: any): void => {
  if (!id) return;
  firstId ||= id;
  greatestId = Math.max(greatestId, id);
  if (entryType === 'event' && duration < EVENT_MS) return;
  const known = longest.find((one) => one[1] === id);
  if (known) known[0] = Math.max(known[0], duration);
  else longest.push([duration, id]);
  longest.sort(([one], [other]) => other - one).splice(LONGEST);
};

const take = (entries: any[]): void => {
  // Entries of several types come in any order.
  for (const entry of entries.sort((one, other) => one.startTime + one.duration - other.startTime - other.duration)) {
    const { name, entryType, startTime, interactionId, largestContentfulPaint } = entry;
    if (entryType === TYPES[0]) {
      if (startTime < hiddenAt) lcp = since(startTime);
    } else if (largestContentfulPaint) {
      const { renderTime } = largestContentfulPaint;
      if (interactionId === cause && renderTime < hiddenAt) lcp = since(renderTime, startTime);
    } else if (entry.getLargestInteractionContentfulPaint) {
      recordGrowing();
      endLcp();
      beginVisit();
      cause = interactionId;
      hiddenAt = Infinity;
      painted(since(entry.presentationTime || entry.paintTime || 0, startTime));
      // What was painted already.
      take([].concat(entry.getLargestInteractionContentfulPaint() || []));
    } else if (entryType === 'layout-shift') takeShift(entry);
    else if (name !== 'first-contentful-paint') takeInteraction(entry);
    else if (startTime < hiddenAt) painted(since(startTime));
  }
};

const takeRest = () => take(observer.takeRecords());

/** Begins to measure; a page that is rendered before it is shown begins when it is. */
export const watchVitals = (): void => {
  if (page.prerendering) return listen('prerenderingchange', watchVitals);
  const listed = (type: string): any[] => performance.getEntriesByType(type);
  const [{ responseStart = 0, activationStart = 0 } = {}] = listed('navigation');
  shownAt = activationStart;
  hiddenAt =
    listed('visibility-state').find(({ name, startTime }) => name === 'hidden' && startTime >= shownAt)?.startTime ?? firstHidden();
  if (responseStart > 0 && responseStart < performance.now()) observe('ttfb_ms', since((firstByte = responseStart)));

  knowsShifts = PerformanceObserver.supportedEntryTypes.includes('layout-shift');
  observer = watchEntries(take, ...TYPES);

  atEnd.push((event) => {
    takeRest();
    if (event) {
      hiddenAt = Math.min(hiddenAt, event.timeStamp);
      endLcp();
    }
    recordGrowing();
  });
  const finish = ({ isTrusted }: Event) => {
    const visit = visits;
    const end = () => {
      takeRest();
      if (visit === visits) endLcp();
    };
    if (isTrusted) setTimeout(end, ON_ITS_WAY_MS);
  };
  listen('pageshow', ({ persisted, timeStamp }) => {
    if (!persisted) return;
    beginVisit();
    setTimeout(() => (hiddenAt = firstHidden()));
    requestAnimationFrame(() =>
      requestAnimationFrame(() => {
        lcp = performance.now() - timeStamp;
        painted(lcp);
        endLcp();
        observe('page_load_cached_ms', lcp);
      }),
    );
  }, true);
  listen('keydown', finish, true);
  listen('click', finish, true);
};
