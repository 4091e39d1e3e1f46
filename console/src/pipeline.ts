// What the collector says of its own work, second by second.
import { signal } from '@preact/signals';
import { useAnswer, type Answer } from './state';
import type { SeriesMap } from './series';

export interface PipelinePoint { t: number; batches: number; samples: number; requests: number; refused: number; p50_ms: number | null; p99_ms: number | null }
export interface Pipeline { t: number; started_at: number; version: string; series: SeriesMap; points: PipelinePoint[] }

const EVERY_MS = 2_000;
export const KEPT_MS = 15 * 60_000;

/** What the live stream last said; null while there is none, and then the view asks by itself. */
export const fed = signal<Pipeline | null>(null);

/** What is known after an event of the live stream. */
export function grown(before: Pipeline, { t, series, points }: Pick<Pipeline, 't' | 'series' | 'points'>): Pipeline {
  const last = before.points[before.points.length - 1]?.t ?? 0;
  const kept = [...before.points, ...points.filter((point) => point.t > last)].filter((point) => point.t > t - KEPT_MS);
  return { ...before, t, series: { ...before.series, ...series }, points: kept };
}

export function usePipeline(): Answer<Pipeline> {
  const live = fed.value;
  const answer = useAnswer<Pipeline>(live ? null : 'api/v1/pipeline', EVERY_MS);
  return live ? { data: live, path: '', error: null, isLoading: false } : answer;
}
