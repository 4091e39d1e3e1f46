//! A batch: its identity, its content on the wire, its readings.
//!
//! The content is written once, when the batch is made; a request puts `sent_at_ms` before it and
//! changes nothing else.

use std::io::Write as _;

use tillwatch_model::{Connection, Metric, SparseHistogram, Unit};
use uuid::Uuid;

use crate::app_errors::AppError;

/// The bits of a reading that hold its value: past every metric's range.
const VALUE_BITS: u32 = 56;

/// One recorded value of one metric, in 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading(u64);

impl Reading {
    /// A value of the metric at this position of the catalogue.
    pub fn new(metric: usize, recorded: u64) -> Self {
        debug_assert!(recorded < 1 << VALUE_BITS && metric < 256);
        Self(((metric as u64) << VALUE_BITS) | recorded)
    }

    /// The metric's position.
    pub fn metric(self) -> usize {
        usize::from(self.0.to_be_bytes()[0])
    }

    /// The value, in the recording unit.
    pub fn recorded(self) -> u64 {
        self.0 & ((1 << VALUE_BITS) - 1)
    }
}

/// What a batch says beside its values: what is true of the terminal once the batch is acknowledged. Times are true ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// An error happened.
    Error {
        /// Which.
        fingerprint: u64,
        /// When, Unix ms.
        t_ms: i64,
        /// How often.
        count: u64,
    },
    /// The terminal has said which batches it dropped: these and those between.
    Dropped {
        /// The first number.
        from: u64,
        /// The last number.
        to: u64,
    },
    /// So many transactions wait.
    Pending {
        /// At what time, Unix ms.
        t_ms: i64,
        /// How many.
        transactions: u64,
    },
    /// So many transactions were given up.
    GivenUp(u64),
}

/// Batches that a terminal says it has dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drop {
    /// The first number.
    pub from: u64,
    /// The last number.
    pub to: u64,
    /// How many samples they held.
    pub samples: u64,
}

/// What a terminal posts at once, and keeps until it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The batch's number in the terminal's queue.
    pub seq: u64,
    /// How often the batch was sent.
    pub attempts: u32,
    /// The hour in which all of it was measured, by the terminal's clock, Unix ms.
    pub hour_ms: i64,
    /// When it was to be sent, real Unix ms; none when the terminal could not send it then.
    pub intended_ms: Option<i64>,
    /// Whether the batch was measured while running, and is not history.
    pub is_live: bool,
    /// Every value in the batch, also those inside histograms.
    pub readings: Box<[Reading]>,
    /// What the batch says beside them.
    pub notes: Box<[Note]>,
    /// The JSON object without its opening brace.
    content: Box<[u8]>,
}

impl Batch {
    /// How many samples the batch holds: a histogram weighs its counts.
    pub fn samples(&self) -> u64 {
        self.readings.len() as u64
    }

    /// Bytes on the wire before compression.
    pub fn bytes(&self) -> usize {
        self.content.len()
    }

    /// Memory the batch takes until it is acknowledged.
    pub fn held_bytes(&self) -> u64 {
        let lists = size_of_val(&*self.readings) + size_of_val(&*self.notes);
        (size_of::<Self>() + self.content.len() + lists) as u64
    }

    /// What does not change from attempt to attempt.
    #[cfg(test)]
    pub fn content(&self) -> &[u8] {
        &self.content
    }
}

/// The body of a request that carries these batches, stamped with the terminal's time if it has one.
pub fn request_body(batches: &[&Batch], sent_at_ms: Option<i64>) -> Vec<u8> {
    let bytes: usize = batches.iter().map(|batch| batch.bytes() + 2).sum();
    let mut body = Vec::with_capacity(bytes + 64);
    body.push(b'{');
    if let Some(sent_at_ms) = sent_at_ms {
        put(&mut body, format_args!("\"sent_at_ms\":{sent_at_ms},"));
    }
    if let [batch] = batches {
        body.extend_from_slice(&batch.content);
        return body;
    }
    body.extend_from_slice(b"\"batches\":[");
    for (position, batch) in batches.iter().enumerate() {
        body.extend_from_slice(if position == 0 { b"{" } else { b",{" });
        body.extend_from_slice(&batch.content);
    }
    body.extend_from_slice(b"]}");
    body
}

/// When and how something was measured.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// By the terminal's clock, Unix ms.
    pub t_ms: i64,
    /// How the terminal was connected.
    pub connection: Connection,
}

/// One value, as a terminal writes it.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// The metric's position.
    pub position: usize,
    /// The metric's unit.
    pub unit: Unit,
    /// The name this terminal uses for the metric.
    pub name: &'a str,
    /// The label; empty for none.
    pub label: &'a str,
    /// When and how.
    pub at: Moment,
    /// The value, in the recording unit.
    pub recorded: u64,
}

/// Writes a batch's content.
#[derive(Debug)]
pub struct Builder {
    seq: u64,
    hour_ms: i64,
    content: Vec<u8>,
    readings: Vec<Reading>,
    histograms: Vec<u8>,
    events: Vec<u8>,
    drops: Vec<u8>,
    notes: Vec<Note>,
    has_samples: bool,
}

impl Builder {
    /// A batch whose content begins with `head`: everything up to the value of `seq`, which must be the
    /// last key.
    pub fn new(head: &[u8], seq: u64, session_id: &str, hour_ms: i64) -> Self {
        let mut content = Vec::with_capacity(4_096);
        content.extend_from_slice(head);
        put(
            &mut content,
            format_args!("{seq},\"session_id\":\"{session_id}\",\"samples\":["),
        );
        Self {
            seq,
            hour_ms,
            content,
            readings: Vec::with_capacity(64),
            histograms: Vec::new(),
            events: Vec::new(),
            drops: Vec::new(),
            notes: Vec::new(),
            has_samples: false,
        }
    }

    /// Adds one value.
    pub fn sample(&mut self, sample: &Sample<'_>) {
        let content = &mut self.content;
        if self.has_samples {
            content.push(b',');
        }
        self.has_samples = true;
        content.extend_from_slice(b"{\"m\":\"");
        content.extend_from_slice(sample.name.as_bytes());
        put_key_number(content, "\",\"t\":", sample.at.t_ms.unsigned_abs());
        content.extend_from_slice(b",\"v\":");
        put_wire(content, sample.unit, sample.recorded);
        put_dimensions(content, sample.label, sample.at.connection);
        content.push(b'}');
        self.readings
            .push(Reading::new(sample.position, sample.recorded));
    }

    /// Adds a histogram of these values, which must not be empty; its span begins at the moment.
    pub fn histogram(
        &mut self,
        position: usize,
        metric: &Metric,
        at: Moment,
        span_ms: i64,
        values: &[u64],
    ) {
        let (Some(min), Some(max)) = (values.iter().min(), values.iter().max()) else {
            return;
        };
        let mut histogram = SparseHistogram::default();
        for value in values {
            histogram.record(*value);
            self.readings.push(Reading::new(position, *value));
        }
        let out = &mut self.histograms;
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"m\":\"");
        out.extend_from_slice(metric.name.as_bytes());
        put_key_number(out, "\",\"t\":", at.t_ms.unsigned_abs());
        put_key_number(out, ",\"span_ms\":", span_ms.unsigned_abs());
        put_dimensions(out, "", at.connection);
        out.extend_from_slice(b",\"buckets\":[");
        let (indices, counts) = histogram.parts();
        for (order, (index, count)) in indices.iter().zip(counts).enumerate() {
            put_key_number(out, if order == 0 { "[" } else { ",[" }, u64::from(*index));
            put_key_number(out, ",", *count);
            out.push(b']');
        }
        out.push(b']');
        let amounts = [("sum", values.iter().sum()), ("min", *min), ("max", *max)];
        for (key, recorded) in amounts {
            put(out, format_args!(",\"{key}\":"));
            put_wire(out, metric.unit, recorded);
        }
        out.push(b'}');
    }

    /// Says something beside the values.
    pub fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// Adds an error that happened so often: one sample of the metric at this position.
    pub fn error(&mut self, position: usize, error: &AppError, at: Moment, count: u64) {
        let out = &mut self.events;
        out.extend_from_slice(if out.is_empty() { b"{" } else { b",{" });
        put(
            out,
            format_args!(
                "\"k\":\"error\",\"t\":{},\"fingerprint\":\"{:016x}\",\"type\":\"{}\",\"message\":\"{}\",\
                 \"frames\":[{{\"fn\":\"{}\",\"module\":\"app.js\",\"line\":1,\"col\":5120}}],\"count\":{count}",
                at.t_ms, error.fingerprint, error.type_name, error.message, error.function
            ),
        );
        put_dimensions(out, error.label, at.connection);
        out.push(b'}');
        self.readings.push(Reading::new(position, count));
    }

    /// Says which batches of a queue will never come: one sample of the metric at this position.
    pub fn dropped(&mut self, position: usize, queue: Uuid, dropped: &Drop, t_ms: i64) {
        let Drop { from, to, samples } = *dropped;
        let out = &mut self.drops;
        out.extend_from_slice(if out.is_empty() { b"{" } else { b",{" });
        put(
            out,
            format_args!(
                "\"queue\":\"{queue}\",\"from\":{from},\"to\":{to},\"samples\":{samples},\"reason\":\"quota\",\"t\":{t_ms}}}"
            ),
        );
        self.readings.push(Reading::new(position, samples));
        self.note(Note::Dropped { from, to });
    }

    /// The batch.
    pub fn finish(mut self) -> Batch {
        self.content.push(b']');
        let lists = [
            ("histograms", &self.histograms),
            ("events", &self.events),
            ("drops", &self.drops),
        ];
        for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            put(&mut self.content, format_args!(",\"{key}\":["));
            self.content.extend_from_slice(list);
            self.content.push(b']');
        }
        self.content.push(b'}');
        Batch {
            seq: self.seq,
            attempts: 0,
            hour_ms: self.hour_ms,
            intended_ms: None,
            is_live: false,
            readings: self.readings.into_boxed_slice(),
            notes: self.notes.into_boxed_slice(),
            content: self.content.into_boxed_slice(),
        }
    }
}

fn put_dimensions(out: &mut Vec<u8>, label: &str, connection: Connection) {
    if !label.is_empty() {
        out.extend_from_slice(b",\"label\":\"");
        out.extend_from_slice(label.as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b",\"connection\":\"");
    out.extend_from_slice(connection.name().as_bytes());
    out.push(b'"');
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = out.write_fmt(text);
}

fn put_key_number(out: &mut Vec<u8>, before: &str, number: u64) {
    out.extend_from_slice(before.as_bytes());
    put_number(out, number, 1);
}

/// Decimal digits, at least `digits_min` of them.
fn put_number(out: &mut Vec<u8>, mut number: u64, digits_min: usize) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        // Below 10.
        let last = (number % 10) as u8;
        *digit = b'0' + last;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    let start = start.min(digits.len() - digits_min);
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// A recorded value as an exact decimal of the wire unit.
fn put_wire(out: &mut Vec<u8>, unit: Unit, recorded: u64) {
    let scale = unit.scale();
    put_number(out, recorded / scale, 1);
    let fraction = recorded % scale;
    if fraction != 0 {
        out.push(b'.');
        put_number(out, fraction, scale.ilog10() as usize);
    }
}

#[cfg(test)]
mod tests {
    use tillwatch_model::Catalogue;

    use super::*;

    const AT: Moment = Moment {
        t_ms: 1_763_599_980_000,
        connection: Connection::Offline,
    };

    #[test]
    fn a_batch_is_written_as_the_format_says() {
        let catalogue = Catalogue::default();
        let write = catalogue.named("idb_write_ms").unwrap();
        let mut builder = Builder::new(b"\"v\":1,\"seq\":", 412, "s", 0);
        builder.sample(&Sample {
            position: 19,
            unit: Unit::Count,
            name: "cache_requests",
            label: "hit",
            at: AT,
            recorded: 3,
        });
        builder.sample(&Sample {
            position: 3,
            unit: Unit::Score,
            name: "cls_score",
            label: "",
            at: AT,
            recorded: 250,
        });
        builder.histogram(21, write, AT, 60_000, &[12_300, 8_001, 10_003, 9_800]);
        let batch = builder.finish();
        let json: serde_json::Value =
            serde_json::from_slice(&request_body(&[&batch], Some(1_763_683_200_123))).unwrap();
        let expected = serde_json::json!({
            "sent_at_ms": 1_763_683_200_123_u64, "v": 1, "seq": 412, "session_id": "s",
            "samples": [
                {"m": "cache_requests", "t": 1_763_599_980_000_u64, "v": 3, "label": "hit", "connection": "offline"},
                {"m": "cls_score", "t": 1_763_599_980_000_u64, "v": 0.025, "connection": "offline"},
            ],
            "histograms": [
                {"m": "idb_write_ms", "t": 1_763_599_980_000_u64, "span_ms": 60_000, "connection": "offline",
                 "buckets": [[4_048, 1], [4_297, 1], [4_322, 1], [4_609, 1]], "sum": 40.104, "min": 8.001, "max": 12.3},
            ],
        });
        assert_eq!(json, expected);
        assert_eq!(batch.samples(), 6);
        assert_eq!(
            (batch.readings[1].metric(), batch.readings[1].recorded()),
            (3, 250)
        );
    }

    #[test]
    fn errors_and_drops_are_written_as_the_format_says() {
        let mut builder = Builder::new(b"\"v\":1,\"seq\":", 9, "s", 0);
        builder.error(30, &AppError::new_one(0xab), AT, 2);
        let queue = Uuid::from_u128(7);
        let dropped = Drop {
            from: 4,
            to: 6,
            samples: 120,
        };
        builder.dropped(36, queue, &dropped, AT.t_ms);
        let batch = builder.finish();
        let json: serde_json::Value =
            serde_json::from_slice(&request_body(&[&batch], None)).unwrap();
        let event = &json["events"][0];
        assert_eq!(event["fingerprint"], "00000000000000ab");
        assert_eq!(
            (&event["count"], &event["connection"]),
            (&2.into(), &"offline".into())
        );
        let said = serde_json::json!({"queue": queue.to_string(), "from": 4, "to": 6, "samples": 120,
            "reason": "quota", "t": AT.t_ms});
        assert_eq!(json["drops"], serde_json::json!([said]));
        // Each weighs one sample, and counts as many of its metric.
        let counted: Vec<u64> = batch.readings.iter().map(|one| one.recorded()).collect();
        assert_eq!(counted, [2, 120]);
        assert_eq!(*batch.notes, [Note::Dropped { from: 4, to: 6 }]);
    }

    #[test]
    fn many_batches_stand_in_a_list_with_the_same_content() {
        let batch = |seq| {
            let mut builder = Builder::new(b"\"v\":1,\"seq\":", seq, "s", 0);
            builder.sample(&Sample {
                position: 0,
                unit: Unit::Milliseconds,
                name: "lcp_ms",
                label: "",
                at: AT,
                recorded: 1,
            });
            builder.finish()
        };
        let (first, second) = (batch(1), batch(2));
        let body = request_body(&[&first, &second], Some(5));
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["sent_at_ms"], 5);
        assert_eq!(json["batches"][1]["seq"], 2);
        assert_eq!(json["batches"][0]["samples"][0]["v"], 0.001);
    }

    #[test]
    fn wire_values_are_exact_decimals() {
        let text = |unit, recorded| {
            let mut out = Vec::new();
            put_wire(&mut out, unit, recorded);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(Unit::Milliseconds, 604_800_000_000), "604800000");
        assert_eq!(text(Unit::Milliseconds, 1_050), "1.050");
        assert_eq!(text(Unit::Megabytes, 1), "0.000001");
        assert_eq!(text(Unit::Ratio, 10_000), "1");
        assert_eq!(text(Unit::Count, 0), "0");
    }
}
