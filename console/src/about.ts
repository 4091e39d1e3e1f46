// What the collector says of itself to anybody, and the session of whoever has signed in.
import { batch, effect, signal } from '@preact/signals';
import { arrivals, ask, isKeyWanted, returns } from './state';

export interface About {
  version: string; started_at: number; auth: 'off' | 'required'; grafana_url: string | null;
  signed_in: { key: string; scopes: string[]; until: number } | null;
}
export const about = signal<About | null>(null);
effect(() => {
  void returns.value;
  ask<About>('api/v1/about').then((found) => { about.value = found; }).catch(() => {});
});

/** Shows the key once; the collector answers with a cookie that no script can read. Says what is wrong, or nothing. */
export async function signIn(key: string): Promise<string> {
  try {
    const response = await fetch('api/v1/session', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ key }), cache: 'no-store' });
    if (!response.ok) {
      const { error } = await response.json().catch(() => ({})) as { error?: { code?: string; message?: string } };
      if (response.status === 401) return 'The collector has no such key.';
      if (error?.code === 'scope') return 'This key does not have the scope read.';
      return error?.message ?? `The collector answered ${response.status}.`;
    }
  } catch { return 'The collector does not answer.'; }
  batch(() => { isKeyWanted.value = false; returns.value += 1; arrivals.value += 1; });
  return '';
}

/** The page is loaded anew, so that nothing that was answered stays in its memory. */
export async function signOut(): Promise<void> {
  try { await fetch('api/v1/session', { method: 'DELETE', cache: 'no-store' }); } finally { location.reload(); }
}

/** What a command needs to find this collector and to be answered by it. */
export function adminOptions(): Record<string, string | undefined> {
  const base = new URL('.', document.baseURI).href.replace(/\/$/, '');
  return { 'admin-url': base === 'http://127.0.0.1:9090' ? undefined : base, 'admin-key-file': about.value?.auth === 'required' ? 'FILE' : undefined };
}
