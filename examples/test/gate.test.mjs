// The gate of a deployment, with a stand-in for tillwatch.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const GATE = fileURLToPath(new URL('../rollout-gate/gate.sh', import.meta.url));
const SECRET = 'twk_a-key-that-nobody-may-see';
const home = mkdtempSync(join(tmpdir(), 'tillwatch-gate-'));
after(() => rmSync(home, { recursive: true, force: true }));

/** Notes how it was called, says something, and ends with `code`; with `sleeps` it waits to be stopped. */
function standIn({ code = 0, sleeps = false } = {}) {
  const path = join(home, `tillwatch-${code}-${sleeps}`);
  const lines = [
    '#!/bin/sh',
    `printf '%s\\n' "$*" >"${home}/arguments"`,
    `printf '%s' "\${TILLWATCH_ADMIN_KEY-none}" >"${home}/key-variable"`,
    `env >"${home}/environment"`,
    `[ -z "\${TILLWATCH_ADMIN_KEY_FILE-}" ] || { cat "$TILLWATCH_ADMIN_KEY_FILE" >"${home}/key"; stat -c %a "$TILLWATCH_ADMIN_KEY_FILE" >"${home}/mode"; echo "$TILLWATCH_ADMIN_KEY_FILE" >"${home}/key-file"; }`,
    "echo 'HOLD  2.5.0 against 2.4.1'",
    sleeps ? `echo $$ >"${home}/pid"\nexec sleep 60` : `exit ${code}`,
  ];
  writeFileSync(path, `${lines.join('\n')}\n`);
  chmodSync(path, 0o700);
  return path;
}
const note = (name) => readFileSync(join(home, name), 'utf8').trim();

function gate(args, { program = standIn(), shell = ['sh'], env = {}, begun } = {}) {
  const child = spawn(shell[0], [...shell.slice(1), GATE, ...args], { env: { PATH: process.env.PATH, TMPDIR: home, TILLWATCH_PROGRAM: program, ...env } });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) child[name].on('data', (text) => (said[name] += text));
  begun?.(child);
  return new Promise((done) => child.on('close', (code) => done({ code, ...said, last: said.stderr.trim().split('\n').at(-1) })));
}

const VERDICTS = [
  [0, 0, /^rollout-gate: pass: release 2\.5\.0 may go to its next step\.$/],
  [10, 10, /^rollout-gate: FAIL: stop .* move the stores of release 2\.5\.0 back\.$/],
  [11, 11, /^rollout-gate: hold: leave release 2\.5\.0 .* ask again after the next look\. Do not go on\.$/],
  [12, 12, /^rollout-gate: not judged: .* Do not go on\.$/],
  [1, 1, /^rollout-gate: error: .*exit code 1.*Do not go on\.$/],
  [2, 2, /^rollout-gate: error: .*exit code 2/],
];
for (const [code, wanted, last] of VERDICTS) {
  test(`exit code ${code} of tillwatch: the gate says what to do`, async () => {
    const answer = await gate(['--release', '2.5.0'], { program: standIn({ code }) });
    assert.equal(answer.code, wanted);
    assert.match(answer.last, last);
    assert.equal(answer.stdout, 'HOLD  2.5.0 against 2.4.1\n');
  });
}

test('options are handed on, and it waits for a day and a little unless told otherwise', async () => {
  await gate(['--release', '2.5.0', '--against', '2.4 1', '--json']);
  assert.equal(note('arguments'), 'rollout verdict --release 2.5.0 --against 2.4 1 --json --wait 27h');
  for (const wait of [['--wait', '5m'], ['--wait=5m']]) {
    await gate(['--release=2.5.0', ...wait]);
    assert.equal(note('arguments'), `rollout verdict --release=2.5.0 ${wait.join(' ')}`);
  }
});

test('without a release and without a program nothing goes on', async () => {
  const nameless = await gate(['--wait', '5m']);
  assert.equal(nameless.code, 2);
  assert.match(nameless.last, /no release was named/);
  const missing = await gate(['--release', '2.5.0'], { program: join(home, 'nowhere') });
  assert.equal(missing.code, 127);
  assert.match(missing.last, /could not be run/);
});

test('a key is given by a file that is gone afterwards, and is never printed, however the script is run', async () => {
  for (const shell of [['sh'], ['sh', '-x'], ['bash', '-xv']]) {
    const { code, stdout, stderr } = await gate(['--release', '2.5.0'], { shell, env: { TILLWATCH_ADMIN_KEY: SECRET } });
    assert.equal(code, 0);
    assert.equal(note('key'), SECRET);
    assert.equal(note('mode'), '600');
    assert.equal(note('key-variable'), 'none');
    assert.ok(!note('environment').includes(SECRET));
    assert.ok(!existsSync(note('key-file')));
    assert.ok(!`${stdout}${stderr}`.includes(SECRET));
  }
});

test('a file of a key stays where it is, and empty variables are none', async () => {
  const file = join(home, 'own.key');
  writeFileSync(file, SECRET);
  await gate(['--release', '2.5.0'], { env: { TILLWATCH_ADMIN_KEY_FILE: file, TILLWATCH_ADMIN_KEY: '', TILLWATCH_CA_FILE: '', TILLWATCH_ADMIN_URL: '' } });
  assert.equal(note('key-file'), file);
  assert.ok(existsSync(file));
  assert.ok(!/^TILLWATCH_(CA_FILE|ADMIN_URL)=/m.test(note('environment')));
});

test('a deployment that is cancelled ends at once, and leaves no key behind', async () => {
  const before = readdirSync(home).filter((name) => name.startsWith('tmp.'));
  const program = standIn({ sleeps: true });
  const answer = await gate(['--release', '2.5.0'], {
    program,
    env: { TILLWATCH_ADMIN_KEY: SECRET },
    begun: async (child) => {
      while (!existsSync(join(home, 'pid'))) await new Promise((done) => setTimeout(done, 20));
      child.kill('SIGTERM');
    },
  });
  assert.equal(answer.code, 143);
  assert.throws(() => process.kill(Number(note('pid')), 0));
  assert.deepEqual(readdirSync(home).filter((name) => name.startsWith('tmp.')), before);
});

test('a workflow gets the verdict as an output', async () => {
  const output = join(home, 'output');
  for (const [code, word] of [[0, 'pass'], [10, 'fail'], [11, 'hold'], [12, 'not_judged'], [1, 'error']]) {
    writeFileSync(output, '');
    await gate(['--release', '2.5.0'], { program: standIn({ code }), env: { GITHUB_OUTPUT: output } });
    assert.equal(readFileSync(output, 'utf8'), `verdict=${word}\n`);
  }
});
