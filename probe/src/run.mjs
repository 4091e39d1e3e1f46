// Runs a scenario once, in a page of its own, and says what came of it.
import { memoryOf, openPage, untilServiceWorker } from './browser.mjs';
import { kindOf, titleOf } from './scenario.mjs';

class StepFailed extends Error {}

/** `promise`, or an error when it takes longer. */
async function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`it took longer than ${ms} ms`)), ms)));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Does a step. Gives what it measured, if it measures. */
async function perform(step, run) {
  const { opened, url, marks, now } = run;
  const { page, context } = opened;
  const timeout = Math.max(1, Math.min(step.timeout_ms, run.endsAt - now()));
  const first = (selector) => page.locator(selector).first();
  switch (kindOf(step)) {
    case 'goto':
      return void (await page.goto(url + step.goto, { timeout, waitUntil: 'load' }));
    case 'click':
      return void (await first(step.click).click({ timeout }));
    case 'fill': {
      const value = 'with' in step ? step.with : process.env[step.with_env];
      if (value === undefined) throw new StepFailed(`the environment variable ${step.with_env} is not set`);
      return void (await first(step.fill).fill(value, { timeout }));
    }
    case 'wait':
      return void (await first(step.wait).waitFor({ timeout }));
    case 'wait_text':
      return void (await page.getByText(step.wait_text, { exact: true }).first().waitFor({ timeout }));
    case 'go':
      return void (await within(timeout, context.setOffline(step.go === 'offline')));
    case 'mark':
      return void marks.set(step.mark, now());
    case 'measure': {
      const ms = (step.to ? marks.get(step.to) : now()) - marks.get(step.from);
      return { name: step.measure, unit: 'ms', value: ms, limit: step.limit_ms && step.limit_ms * run.limitFactor, metric: step.metric, connection: step.connection };
    }
    case 'evaluate':
      if (step.evaluate === 'service_worker') return void (await within(timeout, untilServiceWorker(opened)));
      return { name: step.name ?? 'memory', unit: 'bytes', value: await within(timeout, memoryOf(opened)), limit: step.limit_bytes && step.limit_bytes * run.limitFactor, metric: step.metric };
    case 'repeat':
      for (let round = 1; round <= step.repeat; round += 1)
        for (const [at, inner] of step.steps.entries())
          try {
            if (run.endsAt <= now()) throw new StepFailed('the time of the whole scenario is over; "timeout_ms" of the scenario sets it');
            await perform(inner, run);
          } catch (error) {
            throw new StepFailed(`round ${round}, step ${at + 1} in it (${titleOf(inner)}): ${reasonOf(error)}`);
          }
      return;
  }
}

/** The first line of an error: what Playwright says behind it is for those who write the page. */
const reasonOf = (error) => String(error?.message ?? error).split('\n')[0].slice(0, 300);

/**
 * Runs a scenario. Each step becomes `{ number, title, result, ms, reason? }`, where the result is `ok`, `over_limit` (it
 * measured more than it may) or `failed` (it could not be done; nothing is done behind it). A picture of the page is taken
 * of a step that is not ok. The browser is gone in the end.
 */
export async function runScenario(scenario, { launched, url, limitFactor = 1, held, onStep = () => {}, screenshot = async () => {}, signal, now = () => performance.now() }) {
  const began = now();
  const steps = [];
  const measured = [];
  let heldBack = 0;
  // Whoever stops the probe must not wait for a step: without its page it fails at once.
  const { browser, kill } = launched;
  signal?.addEventListener('abort', kill);
  if (signal?.aborted) kill();
  try {
    const opened = await within(30_000, openPage(browser, held));
    const run = { opened, url, marks: new Map(), limitFactor, endsAt: began + scenario.timeoutMs, now };
    for (const [at, step] of scenario.steps.entries()) {
      const done = { number: at + 1, title: titleOf(step), result: 'ok' };
      const stepBegan = now();
      try {
        if (run.endsAt <= stepBegan) throw new StepFailed(`the scenario took longer than ${scenario.timeoutMs} ms; "timeout_ms" of the scenario sets it`);
        const value = await perform(step, run);
        if (value) {
          measured.push({ ...value, atMs: Date.now() });
          if (value.value > value.limit) Object.assign(done, { result: 'over_limit', reason: `${value.name} was ${Math.round(value.value)} ${value.unit}, and may be ${Math.round(value.limit)}` });
        }
      } catch (error) {
        Object.assign(done, { result: 'failed', reason: reasonOf(error) });
      }
      if (signal?.aborted) break;
      done.ms = now() - stepBegan;
      if (done.result !== 'ok') done.screenshot = await screenshot(opened.page, done).catch(() => undefined);
      steps.push(done);
      onStep(done);
      if (done.result === 'failed') break;
    }
    heldBack = opened.heldBack();
  } finally {
    signal?.removeEventListener('abort', kill);
    await kill();
  }
  const results = steps.map(({ result }) => result);
  const result = results.includes('failed') ? 'failed' : results.includes('over_limit') ? 'over_limit' : 'ok';
  return { scenario: scenario.name, result, steps, measured, ms: now() - began, heldBack, isStopped: Boolean(signal?.aborted) };
}
