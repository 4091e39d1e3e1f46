// What the collector does with a reader of the stream that does not read.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { cpus, loadavg } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { Collector, helper, sleep, until } from './support.mjs';

describe('a reader that does not read', { timeout: 120_000 }, () => {
  let collector;
  let load;
  before(async () => {
    collector = await new Collector({ TILLWATCH_SEAL_INTERVAL: '5m', TILLWATCH_LOG_LEVEL: 'error' }).start();
    load = await helper('load.mjs', [collector.url, 2_000, 333]);
  });
  after(async () => {
    await load?.stop();
    await collector?.stop();
  });

  const memory = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${collector.process.pid}/status`, 'utf8'))[1]) / 1024;
  /** A stream over a bare socket that does not read before it is told to: a window that has never been read from stays small. */
  async function stream() {
    const { hostname, port } = new URL(collector.adminUrl);
    const one = { text: '', end: 0, socket: connect(Number(port), hostname) };
    one.socket.pause();
    one.socket.on('error', () => {});
    one.socket.on('close', () => { one.end = Date.now(); });
    one.read = () => one.socket.on('data', (data) => (one.text += data)).resume();
    await new Promise((resolve) => one.socket.once('connect', resolve));
    one.port = one.socket.localPort.toString(16).toUpperCase().padStart(4, '0');
    one.socket.write(`GET /api/v1/live?topics=fleet HTTP/1.1\r\nHost: ${hostname}:${port}\r\n\r\n`);
    return one;
  }
  const snapshots = ({ text }) => text.split('event: snapshot').length - 1;

  test('costs the collector no memory; once it reads it gets a snapshot, and if it never does it is closed', async () => {
    // All stores are known and the windows are warm.
    await until(() => /sent \d/.test(load.out()), 'some seconds of load', 30_000);
    const [reader, deaf] = [await stream(), await stream()];
    const begin = memory();
    let most = begin;
    let [full, since] = [-1, 0];
    const t = Date.now();
    // The collector's end of a stream, and how many bytes the system still keeps for whoever reads it.
    const end = (one) => readFileSync('/proc/net/tcp', 'utf8').split('\n').map((line) => line.trim().split(/\s+/)).find(([, , remote, state]) => state === '01' && remote.endsWith(':' + one.port));
    const held = (one) => parseInt(end(one)[4], 16);
    // That is full once it grows no more; the 30 s that the collector has patience for begin then.
    await until(() => {
      most = Math.max(most, memory());
      if (held(reader) !== full) [full, since] = [held(reader), Date.now()];
      return Date.now() - since > 12_000;
    }, 'the reader to hold the collector up', 60_000);
    reader.read();
    await until(() => snapshots(reader) > 1 || reader.end, 'a second snapshot', 20_000);
    const how = reader.end ? 'was closed' : `got a snapshot again, after ${(reader.text.length / 1e6).toFixed(1)} MB`;
    console.log(`a reader that slept for ${((Date.now() - t) / 1_000).toFixed(0)} s ${how}; it and one that never reads cost ${(most - begin).toFixed(1)} MB of ${begin.toFixed(0)} MB`);
    // Without readers it grows by some 10 MB meanwhile, and by more where others work, too: then batches wait.
    assert.ok(most - begin < (process.env.CI || loadavg()[0] > cpus().length ? 120 : 50));
    reader.socket.destroy();

    assert.ok(end(deaf));
    await until(() => !end(deaf), 'the collector to close what nobody reads', 50_000);
    console.log(`a reader that never reads was closed after ${((Date.now() - t) / 1_000).toFixed(0)} s, ${((Date.now() - since) / 1_000).toFixed(0)} s after the last byte was taken for it`);
    deaf.socket.destroy();
  });
});
