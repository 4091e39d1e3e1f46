// What the collector says of its own work: pushed second by second, or asked for where nothing is pushed.
import { pipeline, useLive } from './client';
import { link, useAnswer, type Answer } from './state';
import type { Pipeline } from './types';

const EVERY_MS = 2_000;

export function usePipeline(): Answer<Pipeline> {
  useLive('pipeline');
  const isPolling = link.value === 'polling' || link.value === 'refused';
  const asked = useAnswer<Pipeline>(isPolling ? 'api/v1/pipeline' : null, EVERY_MS);
  const data = (isPolling && asked.data) || pipeline.value;
  return { data, path: '', error: asked.error, isLoading: !data && !asked.error };
}
