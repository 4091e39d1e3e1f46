#!/usr/bin/env node
import { HELP, UsageError, parse } from '../src/options.mjs';
import { probe } from '../src/probe.mjs';
import { ScenarioError, readScenarios } from '../src/scenario.mjs';
import { StateError } from '../src/state.mjs';

const ending = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => ending.abort());

try {
  const options = parse(process.argv.slice(2));
  if (options.command === 'help') process.stdout.write(HELP);
  else if (options.command === 'check') for (const { name, steps } of readScenarios(options.scenarios)) console.log(`${name}: ${steps.length} steps`);
  else process.exitCode = await probe(options, ending.signal);
} catch (error) {
  if (![UsageError, ScenarioError, StateError].some((kind) => error instanceof kind)) throw error;
  console.error(`tillwatch-probe: ${error.message}${error instanceof UsageError ? '\nSee tillwatch-probe --help.' : ''}`);
  process.exitCode = 2;
}
