// Pictures of the page at a step that was not ok: the newest stay.
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const OURS = /^\d{8}T\d{9}Z-[a-z0-9_]+-\d{2,3}_[a-z0-9_]+\.png$/;

/** `20261120T100700123Z-login-07_wait.png`: by name they are in the order of time. */
export const nameOf = (scenario, { number, title }, at = new Date()) =>
  `${at.toISOString().replace(/[-:.]/g, '')}-${scenario}-${String(number).padStart(2, '0')}_${title.replace(/\W/g, '_')}.png`;

/** Removes the oldest beyond `most`. Files with other names are somebody else's. */
export function prune(folder, most) {
  const ours = readdirSync(folder).filter((name) => OURS.test(name)).sort();
  for (const name of ours.slice(0, Math.max(0, ours.length - most))) rmSync(join(folder, name), { force: true });
}

/** Takes a picture, and gives the path of its file. */
export async function take(page, folder, most, scenario, step) {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, nameOf(scenario, step));
  await page.screenshot({ path, timeout: 10_000 });
  prune(folder, most);
  return path;
}
