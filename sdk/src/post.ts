/** One request to the collector, and what its answer means. */

import { type Answer, type Batch, type Job, tillTime } from './queue';

/** How long an answer may take. */
const PATIENCE_MS = 30_000;

/** Pages may have so many bytes under way when they end. */
const LAST_BYTES_MAX = 60_000;

/** `fetch` with an end. */
export const ask = async (url: string, token: string | undefined, body?: BodyInit, keepalive?: boolean): Promise<Answer> => {
  const started = performance.now();
  let status = 0;
  let json: any;
  let afterMs = 0;
  try {
    const headers: HeadersInit = token ? { authorization: 'Bearer ' + token } : {};
    const response = await fetch(url, { method: 'POST', credentials: 'omit', signal: AbortSignal.timeout?.(PATIENCE_MS), body, headers, keepalive });
    status = response.status;
    afterMs = Math.min(1000 * +response.headers.get('retry-after')!, 36e5) || 0;
    // It is read to its end: until then the browser counts the request's bytes as under way.
    json = await response.json();
  } catch {}
  return [status, json, afterMs, performance.now() - started];
};

const addressOf = (url: string, { k: [, whose, at] }: Batch) => `${url}/v1/batches?store=${whose.split('\n')[0]}${at ? '&class=backlog' : ''}`;

const textOf = (batch: Batch, head?: string | false) => `{${head || ''}"sent_at_ms":${tillTime()},${batch.b.slice(1)}`;

/** Posts a batch. */
export const post = async (url: string, job: Job): Promise<Answer> => {
  const [{ token, f }, batch] = job;
  let body: BodyInit = textOf(batch);
  if (self.CompressionStream)
    body = await new Response(new Response(body).body!.pipeThrough(new CompressionStream('gzip'))).blob();
  const bytes = (body as Blob).size ?? (body as string).length * 3;
  // A page whose other requests use up what may be under way would never get this one through.
  return ask(addressOf(url, batch), token, body, bytes < LAST_BYTES_MAX && !f[0]);
};

/** Posts a batch of a page that ends. Nobody hears the answer, so the batch stays. Says when to look again, in ms. */
export const postLast = (url: string, job: Job): number => {
  const [{ token }, batch] = job;
  const body = textOf(batch, token && `"token":"${token}",`);
  if (body.length * 3 < LAST_BYTES_MAX)
    try {
      (self as any).fetchLater(addressOf(url, batch), { method: 'POST', body, activateAfter: 1000 });
    } catch {
      navigator.sendBeacon(addressOf(url, batch), body);
    }
  return 5000;
};
