/** Web vitals of a page that stays open all day. */

import { onCLS, onFCP, onINP, onLCP, onTTFB, type Metric } from 'web-vitals';
import { observe } from './api';
import { atEnd } from './till';

/**
 * LCP, FCP and TTFB are final when they are reported. INP and CLS grow for as long as a page is open, so the last value
 * counts: when the page is hidden or left, at a soft navigation (each is a visit of its own), and every ten minutes on a
 * till that does none of these. What has not grown since is not recorded again.
 */
export function watchVitals(): void {
  const options = { reportSoftNavs: true };
  const final = (name: string) => ({ value }: Metric) => observe(name, value);
  const growing = (name: string) => {
    let last: Metric | undefined;
    let recorded: number | undefined;
    const end = () => {
      if (last && last.value !== recorded) observe(name, (recorded = last.value));
    };
    atEnd.push(end);
    return (metric: Metric) => {
      if (last?.id !== metric.id) {
        end();
        recorded = undefined;
      }
      last = metric;
    };
  };
  // Without all changes, an interaction less than a second before the page is hidden would be missing.
  const always = { ...options, reportAllChanges: true };
  onLCP(final('lcp_ms'), options);
  onFCP(final('fcp_ms'), options);
  onTTFB(final('ttfb_ms'), options);
  onINP(growing('inp_ms'), always);
  onCLS(growing('cls_score'), always);
}
