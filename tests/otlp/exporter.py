"""Posts what `exporters.test.mjs` expects, by OpenTelemetry's exporter for Python.

Arguments: the address, the store, `explicit` or `exponential`, `none` or `gzip`, and the values of a histogram in seconds.
"""

import sys

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
)
from opentelemetry.sdk.resources import Resource

url, store, kind, compression, *values = sys.argv[1:]
kinds = {
    "explicit": ExplicitBucketHistogramAggregation(),
    "exponential": ExponentialBucketHistogramAggregation(),
}
delta = AggregationTemporality.DELTA
exporter = OTLPMetricExporter(
    endpoint=url,
    compression=Compression.Gzip if compression == "gzip" else Compression.NoCompression,
    preferred_temporality={Counter: delta, Histogram: delta},
    preferred_aggregation={Histogram: kinds[kind]},
)
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=600_000)
resource = Resource.create(
    {"store.id": store, "service.instance.id": "till-1", "service.version": "1.2.3", "consent": True}
)
provider = MeterProvider(metric_readers=[reader], resource=resource)
meter = provider.get_meter("pos")
meter.create_gauge("memory.used.mb", unit="MiBy").set(50)
logins = meter.create_counter("offline_logins")
logins.add(3, {"result": "success"})
logins.add(1, {"result": "failure"})
meter.create_up_down_counter("pending_transactions").add(7)
# The SDK's own bounds are made for milliseconds: seconds would all lie in the first bucket or two.
unit, scale = ("s", 1) if kind == "exponential" else ("ms", 1000)
durations = meter.create_histogram("sync.duration", unit=unit)
for value in values:
    durations.record(float(value) * scale)
is_flushed = provider.force_flush()
provider.shutdown()
sys.exit(0 if is_flushed else 1)
