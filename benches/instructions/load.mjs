// What is posted: batches of forty samples as terminals write them, and the connection that posts them.

import net from "node:net";

import { faro, legacy, otlp, protobuf } from "./foreign.mjs";

// As in benches/figures/load.rs: metric, how many of it, its label.
const METRICS = [
  ["lcp_ms", 2],
  ["inp_ms", 10],
  ["cls_score", 2],
  ["offline_login_duration_ms", 1],
  ["sync_duration_ms", 4],
  ["sync_items_count", 4],
  ["sync_payload_bytes", 4],
  ["cache_requests", 4, "hit"],
  ["memory_used_mb", 4],
  ["idb_write_ms", 2],
  ["pending_transactions", 2],
  ["errors", 1, "sync"],
];

// Twelve digits, so that every batch is as long as the others.
const FIRST_SEQ = 100_000_000_000;
const STORES = 10;

/** A terminal's batch. */
export function batch(terminal, nowMs, seq) {
  const samples = METRICS.flatMap(([m, count, label]) =>
    Array.from({ length: count }, (_, index) => ({
      m,
      t: nowMs - 30_000 + index * 500,
      v: m === "cls_score" ? 0.05 : 10 + index * 7.5 + terminal,
      ...(label === undefined ? {} : { label }),
      connection: "online",
    })),
  );
  return {
    v: 1,
    sent_at_ms: nowMs,
    store_id: `store-${String(terminal % STORES).padStart(3, "0")}`,
    terminal_id: `till-${String(terminal).padStart(3, "0")}`,
    queue: `5f0c6a52-6f3f-4c0e-8f43-${String(terminal).padStart(12, "0")}`,
    seq: FIRST_SEQ + seq,
    release: "2.4.1",
    session_id: `cashier-${terminal}`,
    consent: true,
    source: "rum",
    samples,
  };
}

/** MessagePack of what JSON can say, each number in its shortest form. */
export function messagePack(value) {
  const bytes = [];
  const number = (marker, size, write) => {
    const buffer = Buffer.alloc(size);
    write(buffer);
    bytes.push(marker, ...buffer);
  };
  const sized = (count, short, shortMax, marker16) => {
    if (count <= shortMax) bytes.push(short | count);
    else number(marker16, 2, (buffer) => buffer.writeUInt16BE(count));
  };
  const write = (one) => {
    if (typeof one === "boolean") bytes.push(one ? 0xc3 : 0xc2);
    else if (typeof one === "string") {
      const text = Buffer.from(one);
      if (text.length > 31) bytes.push(0xd9, text.length);
      else bytes.push(0xa0 | text.length);
      bytes.push(...text);
    } else if (typeof one === "number") {
      if (!Number.isInteger(one)) number(0xcb, 8, (buffer) => buffer.writeDoubleBE(one));
      else if (one < 0x80) bytes.push(one);
      else if (one < 0x100) bytes.push(0xcc, one);
      else if (one < 0x1_0000) number(0xcd, 2, (buffer) => buffer.writeUInt16BE(one));
      else if (one < 0x1_0000_0000) number(0xce, 4, (buffer) => buffer.writeUInt32BE(one));
      else number(0xcf, 8, (buffer) => buffer.writeBigUInt64BE(BigInt(one)));
    } else if (Array.isArray(one)) {
      sized(one.length, 0x90, 15, 0xdc);
      one.forEach(write);
    } else {
      sized(Object.keys(one).length, 0x80, 15, 0xde);
      for (const [key, member] of Object.entries(one)) {
        write(key);
        write(member);
      }
    }
  };
  write(value);
  return Buffer.from(bytes);
}

/** The same batch with five errors, as a minified script reports them, and two drops. */
function withEvents(of) {
  const frame = (at) => ({ fn: "pay", module: "app.min.js", line: 1, col: 5120 + at });
  const error = (at) => ({
    k: "error",
    t: of.sent_at_ms - 20_000 + at,
    type: "TypeError",
    message: `Cannot read properties of undefined (reading 'price') of line ${at} of order 4711`,
    frames: Array.from({ length: 5 }, (_, index) => frame(index)),
    count: 2,
    connection: "online",
  });
  const drop = { t: of.sent_at_ms, samples: 230, reason: "quota" };
  return { ...of, events: Array.from({ length: 5 }, (_, at) => error(at)), drops: [drop, drop] };
}

/** The formats that are measured. */
const json = (value) => Buffer.from(JSON.stringify(value));
const native = { path: "/v1/batches", status: 202, answer: '{"accepted":40,"duplicate":0,"rejected":0,"reasons":[]}' };
const ofOtlp = { path: "/v1/metrics", status: 200, answer: "" };
export const FORMATS = {
  json: { ...native, type: "application/json", encode: json },
  // What a browser sends beside: the collector reads of it which browser it is.
  json_browser: {
    ...native,
    type: "application/json",
    encode: json,
    head: "user-agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n",
  },
  json_events: { ...native, answer: native.answer.replace("40", "47"), type: "application/json", encode: (batch) => json(withEvents(batch)) },
  messagepack: { ...native, type: "application/msgpack", encode: messagePack },
  faro: { ...native, path: "/collect", type: "application/json", encode: (batch) => json(faro(batch)) },
  otlp_json: { ...ofOtlp, answer: "{}", type: "application/json", encode: (batch) => json(otlp(batch)) },
  otlp_protobuf: { ...ofOtlp, type: "application/x-protobuf", encode: (batch) => protobuf(otlp(batch)) },
  // The ten metrics without a label that the forty values are of.
  legacy: { path: "/pdc_pos_offline/metrics", status: 202, answer: "", type: "application/json", encode: (batch) => json(legacy(batch)) },
};

/** One connection that posts a request at a time. */
class Connection {
  constructor(host, port, format, { head = "", status } = {}) {
    this.head = head;
    this.format = format;
    this.status = status ?? format.status;
    this.address = `${host}:${port}`;
    this.socket = net.connect({ host, port, noDelay: true });
    this.received = "";
    this.waiting = null;
    this.socket.on("data", (bytes) => {
      this.received += bytes.toString("latin1");
      const end = this.received.indexOf("\r\n\r\n");
      const length = /\r\ncontent-length: (\d+)\r\n/.exec(this.received)?.[1];
      if (end < 0 || this.received.length < end + 4 + Number(length)) return;
      const answer = this.received;
      this.received = "";
      this.waiting.resolve(answer);
    });
    this.socket.on("error", (error) => this.waiting?.reject(error));
    this.socket.on("close", () => this.waiting?.reject(new Error("the server closed the connection")));
  }

  request(body) {
    const { path, type, head: own = "" } = this.format;
    const head = `POST ${path} HTTP/1.1\r\nhost: ${this.address}\r\ncontent-type: ${type}\r\n${own}${this.head}content-length: ${body.length}\r\n\r\n`;
    return Buffer.concat([Buffer.from(head), body]);
  }

  async post(request) {
    const answer = await new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.socket.write(request);
    });
    const wanted = this.status === this.format.status ? this.format.answer : "";
    const isAsExpected = answer.startsWith(`HTTP/1.1 ${this.status}`) && answer.endsWith(wanted);
    if (!isAsExpected) throw new Error(`not taken in: ${answer}`);
  }
}

/** Posts batches over some connections, each of which has terminals of its own. */
export class Load {
  constructor({ host, port }, format, connections, shape) {
    this.format = FORMATS[format];
    this.nowMs = Date.now();
    this.connections = Array.from({ length: connections }, () => new Connection(host, port, this.format, shape));
    this.seq = 0;
  }

  /** Posts `rounds` batches of each of `terminals` terminals. */
  async post(terminals, rounds) {
    const first = this.seq;
    this.seq += rounds;
    const count = this.connections.length;
    const work = this.connections.map(async (connection, place) => {
      const requests = [];
      for (let seq = first; seq < first + rounds; seq += 1) {
        for (let terminal = place; terminal < terminals; terminal += count) {
          const body = this.format.encode(batch(terminal, this.nowMs, seq));
          requests.push(connection.request(body));
        }
      }
      for (const request of requests) await connection.post(request);
    });
    await Promise.all(work);
    return terminals * rounds;
  }

  close() {
    for (const { socket } of this.connections) {
      socket.removeAllListeners("close");
      socket.destroy();
    }
  }
}
