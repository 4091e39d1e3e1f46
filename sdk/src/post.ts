/** One request to the collector, and what its answer means. */

import { DENIED, type Job, LATER, type Outcome, TAKEN, tillTime } from './queue';

/** How long an answer may take. */
const PATIENCE_MS = 30_000;

/** Pages may have so many bytes under way when they end. */
const LAST_BYTES_MAX = 60_000;

/** `fetch` with an end: the answer's status (0 without one), and its JSON if it has some. */
const ask = async (url: string, token: string | undefined, body?: BodyInit, keepalive?: boolean): Promise<[status: number, json: any, afterMs: number, tookMs: number]> => {
  const ending = new AbortController();
  const started = performance.now();
  let status = 0;
  let json: any;
  let afterMs = 0;
  setTimeout(() => ending.abort(), PATIENCE_MS);
  try {
    const headers: HeadersInit = token ? { authorization: 'Bearer ' + token } : {};
    const response = await fetch(url, { method: 'POST', credentials: 'omit', signal: ending.signal, body, headers, keepalive });
    status = response.status;
    afterMs = Math.min(1000 * +response.headers.get('retry-after')!, 36e5) || 0;
    // It is read to its end: until then the browser counts the request's bytes as under way.
    json = await response.json();
  } catch {}
  return [status, json, afterMs, performance.now() - started];
};

const addressOf = (url: string, [to, batch]: Job) =>
  `${url}/v1/batches?store=${encodeURIComponent(to.store)}${batch.k[2] ? '&class=backlog' : ''}`;

const textOf = ([, batch]: Job, head = '') => `{${head}"sent_at_ms":${tillTime()},${batch.b.slice(1)}`;

/** Posts a batch, and says whether it may be deleted, the status, how long it took, and the code of a refusal. */
export const post = async (url: string, job: Job): Promise<[...Outcome, status: number, tookMs: number, code?: string]> => {
  let body: BodyInit = textOf(job);
  const [{ token, f }] = job;
  if (body.length > 1000 && self.CompressionStream)
    body = await new Response(new Response(body).body!.pipeThrough(new CompressionStream('gzip'))).arrayBuffer();
  const bytes = (body as ArrayBuffer).byteLength ?? (body as string).length * 3;
  // A page whose other requests use up what may be under way would never get this one through.
  const [status, json, afterMs, tookMs] = await ask(addressOf(url, job), token, body, bytes < LAST_BYTES_MAX && !f[0]);
  const code = json?.error?.code;
  let is: Outcome[0] = LATER;
  // Whoever stands between, such as the login page of a network, may answer anything. The collector's own answers count.
  if (status === 202 && json?.accepted >= 0) is = TAKEN;
  if (status === 413) is = 'too_large';
  if (code && [401, 403].includes(status)) is = DENIED;
  if (code && [400, 415, 422].includes(status)) is = 'refused';
  return [is, json, afterMs, status, tookMs, code];
};

/** Posts a batch of a page that ends. Nobody hears the answer, so the batch stays. Says when to look again, in ms. */
export const postLast = (url: string, job: Job): number => {
  const [{ token }] = job;
  const body = textOf(job, token && `"token":"${token}",`);
  if (body.length * 3 < LAST_BYTES_MAX)
    try {
      (self as any).fetchLater(addressOf(url, job), { method: 'POST', body, credentials: 'omit', activateAfter: 999 });
    } catch {
      navigator.sendBeacon(addressOf(url, job), body);
    }
  return 5000;
};

/** The next token of a family, for one that has run out. */
export const renewed = async (url: string, token?: string): Promise<string | undefined> =>
  (await ask(url + '/v1/token', token))[1]?.token;
