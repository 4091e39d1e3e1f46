//! What became of each sample: accepted, duplicate, rejected with a reason, or deferred.

use crate::dimension::enumerated;

enumerated! {
    /// Why a sample, or a whole batch, was rejected. Codes stand in journals, names in answers.
    Reason {
        /// The metric is not in the catalogue.
        UnknownMetric = 1 "unknown_metric",
        /// The metric needs a label and the sample has none.
        MissingLabel = 2 "missing_label",
        /// The label is not one of the metric's.
        UnknownLabel = 3 "unknown_label",
        /// The value is missing or not a number.
        InvalidValue = 4 "invalid_value",
        /// The value is negative or past the metric's range.
        OutOfRange = 5 "out_of_range",
        /// The time is missing or not a number.
        InvalidTime = 6 "invalid_time",
        /// Older than eight days after correction; with an idempotency key, than 24 hours.
        TooOld = 7 "too_old",
        /// More than five minutes ahead after correction.
        InFuture = 8 "in_future",
        /// Not an object that could be a sample or a histogram.
        MalformedSample = 9 "malformed_sample",
        /// Buckets, span, sum, minimum or maximum do not fit together.
        InvalidHistogram = 10 "invalid_histogram",
        /// A histogram of a metric that is not a distribution.
        NotADistribution = 11 "not_a_distribution",
        /// A histogram of more values than its span can hold.
        HistogramTooHeavy = 12 "histogram_too_heavy",
        /// Not an object that could be an event or a drop, or a field of it is of the wrong type.
        MalformedEvent = 13 "malformed_event",
        /// The kind of an event is not known.
        UnknownKind = 14 "unknown_kind",
        /// The name of a custom event is missing or not an identifier.
        InvalidName = 15 "invalid_name",
        /// An event stands for none, or for too many.
        InvalidCount = 16 "invalid_count",
        /// The samples or numbers of a drop are none that there can be.
        InvalidDrop = 17 "invalid_drop",
        /// One event or drop more than a batch may hold.
        TooMany = 18 "too_many",
        /// A stream of OpenTelemetry that is cumulative, or does not say that it is delta.
        Cumulative = 19 "cumulative",
        /// An instrument of OpenTelemetry whose kind does not fit the metric.
        WrongInstrument = 20 "wrong_instrument",
        /// Count, sum, minimum and maximum of a page's own report do not fit together.
        InvalidSummary = 21 "invalid_summary",
        /// A summary of OpenTelemetry: its count and sum go on for ever, and its percentiles cannot be merged.
        Summary = 22 "summary",
        /// The person did not consent, so nothing is stored.
        NoConsent = 32 "no_consent",
        /// `v` is not a version of the format that is understood here.
        UnsupportedVersion = 33 "unsupported_version",
        /// `store_id` is missing or not an identifier.
        InvalidStoreId = 34 "invalid_store_id",
        /// `terminal_id` is missing or not an identifier.
        InvalidTerminalId = 35 "invalid_terminal_id",
        /// `queue` is missing or not a UUID.
        InvalidQueue = 36 "invalid_queue",
        /// `seq` is missing or not an unsigned integer.
        InvalidSeq = 37 "invalid_seq",
        /// `source` is neither `rum` nor `synthetic`.
        InvalidSource = 38 "invalid_source",
        /// `seq` is more than 1,000,000 above the highest seen.
        SeqJump = 39 "seq_jump",
        /// `seq` is too far below the highest seen to tell whether it was counted.
        BeyondDedupWindow = 40 "beyond_dedup_window",
        /// The terminal uses more queues than one terminal may.
        TooManyQueues = 41 "too_many_queues",
        /// Not an object that could be a batch.
        MalformedBatch = 42 "malformed_batch",
        /// `sent_at_ms` can be no clock's when the request was sent, so that no time in it can be corrected.
        ImplausibleSentAt = 43 "implausible_sent_at",
        /// The batch names another store than the token of its request.
        StoreMismatch = 44 "store_mismatch",
        /// The batch names another terminal than the token of its request.
        TerminalMismatch = 45 "terminal_mismatch",
        /// A payload of a foreign client names no store, and neither does anything else.
        NoStore = 46 "no_store",
    }
}

impl Reason {
    /// One more than the highest code there may be.
    pub const CODES: usize = 64;

    /// A sentence for people.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::UnknownMetric => "The metric is not in the catalogue.",
            Self::MissingLabel => "This metric needs a label.",
            Self::UnknownLabel => "The label is not one of this metric's.",
            Self::InvalidValue => "The value is missing or not a number.",
            Self::OutOfRange => "The value is negative or past the metric's range.",
            Self::InvalidTime => "The time is missing or not a number of milliseconds.",
            Self::TooOld => {
                "The sample is older than eight days, or than 24 hours with an Idempotency-Key."
            }
            Self::InFuture => "The sample lies more than five minutes in the future.",
            Self::MalformedSample => "This is not a sample.",
            Self::InvalidHistogram => {
                "The histogram's span, buckets, sum, min and max do not fit together."
            }
            Self::NotADistribution => {
                "A histogram was sent for a metric that is not a distribution."
            }
            Self::HistogramTooHeavy => {
                "The histogram stands for more values than its span can hold: 1,000 for each second, unless the collector's histogram_values_per_s says otherwise. Check its counts, or send several."
            }
            Self::MalformedEvent => {
                "This is not an event or a drop, or one of its fields is of the wrong type."
            }
            Self::UnknownKind => {
                "k must be \"error\", \"offline\", \"online\", \"shutdown\", \"battery\" or \"custom\"."
            }
            Self::InvalidName => {
                "The name of a custom event is missing or does not match [A-Za-z0-9_.:-]{1,64}."
            }
            Self::InvalidCount => "count must be a whole number from 1 to 1,000,000.",
            Self::InvalidDrop => {
                "samples must be a whole number up to 1,000,000,000, and queue, from and to must all be absent, or name at most 1,000,000 numbers of a queue."
            }
            Self::TooMany => "A batch may hold 50 events and 50 drops.",
            Self::Cumulative => {
                "Only delta temporality is taken. Set OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta for the exporter, or its option of that name."
            }
            Self::WrongInstrument => {
                "The kind of the instrument does not fit the metric: a counter needs a monotonic sum, a level a gauge, a distribution a histogram or a gauge."
            }
            Self::InvalidSummary => {
                "count must be a whole number of at least 1, and min, max and the sum (or avg) must fit it."
            }
            Self::Summary => {
                "Count and sum of OpenTelemetry's summaries are cumulative, and their percentiles cannot be merged. Send a histogram, exponential for preference."
            }
            Self::NoConsent => {
                "The batch does not carry consent (\"consent\": true), so nothing was stored."
            }
            Self::UnsupportedVersion => {
                "Only version 1 of the batch format (\"v\": 1) is understood."
            }
            Self::InvalidStoreId => "store_id is missing or does not match [A-Za-z0-9_.:-]{1,64}.",
            Self::InvalidTerminalId => {
                "terminal_id is missing or does not match [A-Za-z0-9_.:-]{1,64}."
            }
            Self::InvalidQueue => {
                "queue is missing or not a UUID. A sender that keeps no queue leaves out queue and seq and sends an Idempotency-Key header."
            }
            Self::InvalidSeq => {
                "seq is missing or not an unsigned integer. A sender that keeps no queue leaves out queue and seq and sends an Idempotency-Key header."
            }
            Self::InvalidSource => "source must be \"rum\" or \"synthetic\".",
            Self::SeqJump => "seq is more than 1,000,000 above the highest one seen in this queue.",
            Self::BeyondDedupWindow => {
                "seq is so far below the highest one seen that it may have been counted already."
            }
            Self::TooManyQueues => "This terminal uses more than 16 queues.",
            Self::MalformedBatch => "This is not a batch.",
            Self::StoreMismatch => {
                "The batch names another store than the credential that was shown."
            }
            Self::TerminalMismatch => {
                "The batch names another terminal than the credential that was shown."
            }
            Self::NoStore => {
                "Nothing says which store this is. Name it in the attribute store.id (or store_id), in the setting store of this door, or by a terminal's token."
            }
            Self::ImplausibleSentAt => {
                "sent_at_ms must be the terminal's clock when this request is sent, in Unix milliseconds as a number: it is none, in another unit, or not of the clock that measured the samples."
            }
        }
    }
}

/// How many samples of a request met each outcome. A histogram weighs its counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Durable, and counted once.
    pub accepted: u64,
    /// Counted before; not counted again.
    pub duplicate: u64,
    /// Refused for good.
    pub rejected: u64,
}
