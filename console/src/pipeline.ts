// What the collector says of its own work, second by second.
import { signal } from '@preact/signals';
import { useAnswer, type Answer } from './state';
import type { Pipeline } from './series';

const EVERY_MS = 2_000;

/** What the live stream last said; null while there is none, and then the view asks by itself. */
export const fed = signal<Pipeline | null>(null);

export function usePipeline(): Answer<Pipeline> {
  const live = fed.value;
  const answer = useAnswer<Pipeline>(live ? null : 'api/v1/pipeline', EVERY_MS);
  return live ? { data: live, path: '', error: null, isLoading: false } : answer;
}
