// Runs scenarios at their time, and brings what they measured to the collector.
import { accessSync, constants } from 'node:fs';
import { NoBrowser, launch } from './browser.mjs';
import { deliver, samplesOf } from './deliver.mjs';
import { log } from './log.mjs';
import { Metrics, serve } from './metrics.mjs';
import { UsageError } from './options.mjs';
import { runScenario } from './run.mjs';
import { readScenarios } from './scenario.mjs';
import { take } from './screenshots.mjs';
import { sleep } from './sleep.mjs';
import { State } from './state.mjs';

/** What the collector did not take is tried again sooner than the next run. */
const DELIVER_EVERY_MS = 300_000;
/** What a run may take beyond its own limit, before the browser is no longer waited for. */
const GRACE_MS = 60_000;

const worst = (results) => ['failed', 'over_limit'].find((result) => results.includes(result)) ?? 'ok';

/** Runs a scenario, and again if it is not ok. Gives what its last try came to. */
async function tried(scenario, options, signal) {
  let outcome;
  for (let tries = 0; tries <= options.retries; tries += 1) {
    const launched = await launch(options.browser);
    // A browser that hangs answers nothing.
    const overdue = setTimeout(launched.kill, scenario.timeoutMs + GRACE_MS);
    try {
      outcome = await runScenario(scenario, {
        launched,
        url: options.url,
        limitFactor: options.limitFactor,
        held: options.held,
        signal,
        onStep: ({ number, title, result, ms, reason, screenshot }) =>
          log(result === 'ok' ? 'info' : 'warn', { scenario: scenario.name, step: number, did: title, result, ms: Math.round(ms), reason, screenshot }),
        screenshot: (page, step) => take(page, options.screenshots, options.screenshotsKept, scenario.name, step),
      });
    } catch (error) {
      outcome = { scenario: scenario.name, result: 'failed', steps: [], measured: [], ms: 0, heldBack: 0, isStopped: signal.aborted, reason: error.message.split('\n')[0] };
    } finally {
      clearTimeout(overdue);
    }
    if (outcome.isStopped) return outcome;
    const { result, ms, heldBack, reason } = outcome;
    log(result === 'ok' ? 'info' : 'error', { scenario: scenario.name, did: 'run', result, ms: Math.round(ms), tries: tries + 1, held_back: heldBack, reason });
    if (result === 'ok') break;
  }
  return outcome;
}

/** The command `run`. Gives the exit status. */
export async function probe(options, signal) {
  const scenarios = readScenarios(options.scenarios);
  if (options.tokenFile)
    try {
      accessSync(options.tokenFile, constants.R_OK);
    } catch (error) {
      throw new UsageError(`--token-file ${options.tokenFile} cannot be read (${error.code})`);
    }
  const state = new State(options.dataDir, options);
  let page;
  try {
    const metrics = new Metrics({ ...options, scenarios, state });
    for (const { name } of scenarios) state.lastRunMs(name);
    state.save();
    try {
      page = options.metrics && (await serve(metrics, options.metrics));
    } catch (error) {
      throw new UsageError(`--metrics ${options.metrics}: nothing can be served there (${error.code})`);
    }
    console.log(`tillwatch-probe ready${page ? ` metrics=${page.url}` : ''}`);
    return await rounds({ options, scenarios, state, metrics, signal });
  } finally {
    await page?.stop();
    state.close();
  }
}

async function rounds({ options, scenarios, state, metrics, signal }) {
  const bring = async () => !options.collector || (await deliver(state, { ...options, log, signal }));
  for (;;) {
    const next = Date.now() + options.everyMs;
    const results = [];
    let hasBrowser = true;
    for (const scenario of scenarios) {
      let outcome;
      try {
        outcome = await tried(scenario, options, signal);
      } catch (error) {
        if (!(error instanceof NoBrowser)) throw error;
        hasBrowser = false;
        outcome = { scenario: scenario.name, result: 'failed', steps: [], measured: [], ms: 0 };
        log('error', { scenario: scenario.name, did: 'run', result: 'failed', reason: error.message });
      }
      if (signal.aborted) return 0;
      results.push(outcome.result);
      metrics.ran(outcome);
      state.ran(scenario.name);
      const samples = samplesOf(outcome);
      if (options.collector && samples.length) state.add(samples, options);
      await bring();
    }
    if (signal.aborted) return 0;
    if (options.isOnce) {
      if (!hasBrowser) return 3;
      if (worst(results) !== 'ok') return 1;
      return state.waiting.length && options.collector ? 4 : 0;
    }
    while (Date.now() < next && !signal.aborted) {
      await sleep(Math.min(DELIVER_EVERY_MS, next - Date.now()), signal);
      if (!signal.aborted) await bring();
    }
    if (signal.aborted) return 0;
  }
}
