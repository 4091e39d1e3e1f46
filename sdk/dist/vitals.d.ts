/** Web vitals of a page that stays open all day. */
/**
 * LCP, FCP and TTFB are final when they are reported. INP and CLS grow for as long as a page is open, so the last value
 * counts: when the page is hidden or left, at a soft navigation (each is a visit of its own), and every ten minutes on a
 * till that does none of these. What has not grown since is not recorded again.
 */
export declare function watchVitals(): void;
