// The values of a terminal's batch as foreign clients would post them.

const COUNTERS = new Set(["sync_items_count", "cache_requests", "errors"]);
const LABELS = { cache_requests: "result", errors: "kind" };

/** As Grafana Faro's Web SDK sends them: a measurement each. The session tells one payload from the next. */
export const faro = ({ store_id, terminal_id, release, seq, samples }) => ({
  meta: {
    sdk: { name: "faro-core", version: "2.12.1" },
    app: { name: "pos", version: release, installationId: terminal_id },
    session: { id: `session-${seq}`, attributes: { store_id, consent: "true" } },
    browser: { name: "Chromium", version: "142.0.0.0", os: "Linux" },
    page: { url: "https://pos.example.com/till" },
  },
  measurements: samples.map(({ m, t, v, label, connection }) => ({
    type: "pos",
    values: { [m]: v },
    timestamp: new Date(t).toISOString(),
    context: { connection, ...(label === undefined ? {} : { label }) },
  })),
});

/** The metrics of a batch in their order, each with its samples. */
function byMetric(samples) {
  const metrics = new Map();
  for (const sample of samples) metrics.set(sample.m, [...(metrics.get(sample.m) ?? []), sample]);
  return [...metrics];
}

const text = (key, value) => ({ key, value: { stringValue: value } });
const resource = ({ store_id, terminal_id, release, seq }) => [
  text("store.id", store_id),
  text("service.instance.id", terminal_id),
  text("service.version", release),
  text("consent", "true"),
  text("telemetry.run", `run-${seq}`),
];

/** As OpenTelemetry's exporters send them: gauges, and delta sums. */
export const otlp = (batch) => ({
  resourceMetrics: [
    {
      resource: { attributes: resource(batch) },
      scopeMetrics: [
        {
          scope: { name: "pos" },
          metrics: byMetric(batch.samples).map(([name, samples]) => {
            const dataPoints = samples.map(({ t, v, label, connection }) => ({
              attributes: [text("connection", connection), ...(label === undefined ? [] : [text(LABELS[name], label)])],
              startTimeUnixNano: `${t - 1000}000000`,
              timeUnixNano: `${t}000000`,
              asDouble: v,
            }));
            return COUNTERS.has(name) ? { name, sum: { aggregationTemporality: 1, isMonotonic: true, dataPoints } } : { name, gauge: { dataPoints } };
          }),
        },
      ],
    },
  ],
});

const varint = (value) => {
  const bytes = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80);
  return Buffer.from([...bytes, value]);
};
const field = (number, bytes) => Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
const fixed = (number, write) => {
  const bytes = Buffer.alloc(8);
  write(bytes);
  return Buffer.concat([varint(number * 8 + 1), bytes]);
};
const flag = (number, value) => Buffer.concat([varint(number * 8), varint(value)]);
const all = (number, items, encode) => Buffer.concat(items.map((item) => field(number, encode(item))));
const attribute = ({ key, value }) => Buffer.concat([field(1, Buffer.from(key)), field(2, field(1, Buffer.from(value.stringValue)))]);
const point = ({ attributes, startTimeUnixNano, timeUnixNano, asDouble }) =>
  Buffer.concat([
    fixed(2, (bytes) => bytes.writeBigUInt64LE(BigInt(startTimeUnixNano))),
    fixed(3, (bytes) => bytes.writeBigUInt64LE(BigInt(timeUnixNano))),
    fixed(4, (bytes) => bytes.writeDoubleLE(asDouble)),
    all(7, attributes, attribute),
  ]);
const metric = ({ name, gauge, sum }) =>
  Buffer.concat([
    field(1, Buffer.from(name)),
    gauge ? field(5, all(1, gauge.dataPoints, point)) : field(7, Buffer.concat([all(1, sum.dataPoints, point), flag(2, 1), flag(3, 1)])),
  ]);

/** The same in protobuf (opentelemetry/proto/metrics/v1). */
export const protobuf = ({ resourceMetrics }) =>
  all(1, resourceMetrics, ({ resource, scopeMetrics }) =>
    Buffer.concat([
      field(1, all(1, resource.attributes, attribute)),
      all(2, scopeMetrics, ({ scope, metrics }) => Buffer.concat([field(1, field(1, Buffer.from(scope.name))), all(2, metrics, metric)])),
    ]),
  );

/** What a page of the first generation makes of them: sums and percentiles of each metric. */
export const legacy = ({ store_id, terminal_id, release, seq, sent_at_ms, samples }) => ({
  sessionId: `session-${seq}`,
  storeId: store_id,
  terminalId: terminal_id,
  version: release,
  consent: true,
  timestamp: sent_at_ms,
  metrics: Object.fromEntries(
    byMetric(samples.filter(({ label }) => label === undefined)).map(([name, samples]) => {
      const values = samples.map(({ v }) => v).toSorted((one, other) => one - other);
      const at = (share) => values[Math.ceil(share * values.length) - 1];
      const sum = values.reduce((total, value) => total + value, 0);
      return [name, { min: values[0], max: values.at(-1), avg: sum / values.length, median: at(0.5), p95: at(0.95), p99: at(0.99), count: values.length }];
    }),
  ),
});
