/**
 * Web vitals of a page that stays open all day, by the definitions of the specifications and as Google's `web-vitals`
 * measures them: a test compares both on the same pages.
 *
 * A page has *visits*: the first, one for each soft navigation, and one for each return from the back/forward cache.
 * LCP, FCP and TTFB are recorded when they are final. INP and CLS grow for as long as a visit lasts, so the last value
 * counts: when the page is hidden or left, at the end of the visit, and every ten minutes on a till that does none of
 * these. What has not changed since is not recorded again.
 */
/** Begins to measure; a page that is rendered before it is shown begins when it is. */
export declare const watchVitals: () => void;
