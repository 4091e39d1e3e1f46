//! A request, in JSON or MessagePack: parsed, and if it is a request, validated and written as a journal
//! record that must read back with as many samples. JSON and the MessagePack of the same values must
//! come to the same records.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tillwatch::doors::terminal_v1::{Format, Limits, Parsed, offer, parse};
use tillwatch::intake::identity::Identity;
use tillwatch::intake::report::{Place, Report};
use tillwatch::intake::request_time::RequestTime;
use tillwatch::intake::validate::Writer;
use tillwatch::intake::{Offers, Who, weight};
use tillwatch_model::journal_record_v1::decode;
use tillwatch_model::{Catalogue, Entry};

const LIMITS: Limits = Limits {
    batches_max: 20,
    samples_max: 1_000,
};

const VALUES_PER_S: u64 = 1_000;

/// The records of a body's batches; `None` when it is no request.
fn records(body: &[u8], format: Format) -> Option<Vec<Vec<u8>>> {
    let Ok(Parsed::Request(request)) = parse(body, format, LIMITS) else {
        return None;
    };
    let catalogue = Catalogue::default();
    let batches = request.batches.iter().enumerate();
    let batches: Vec<_> = batches.map(|(place, batch)| offer(batch, None, place)).collect();
    let time = RequestTime::new(&Offers {
        received_at_ms: 1_763_683_200_000,
        sent_at_ms: request.sent_at_ms,
        class: tillwatch::intake::limits::Class::Live,
        browser: None,
        batches: &batches,
        watched: None,
    });
    let mut report = Report::default();
    let mut records = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        let Ok(identity) = Identity::of(&Who::Anybody, batch) else {
            continue;
        };
        let writer = Writer {
            source: batch.source,
            identity,
            place: Place::batch(index),
            browser: None,
            catalogue: &catalogue,
            time,
            values_per_s: VALUES_PER_S,
        };
        let mut record = Vec::new();
        let written = writer.write(&mut record, batch, None, &mut report);
        assert_eq!(written.accepted + written.rejected.iter().sum::<u64>(), weight::of_batch(batch, VALUES_PER_S));
        let (header, entries) = decode(&record).expect("what was written can be read");
        let Identity::Numbered(numbered) = identity else {
            panic!("there was no key: {identity:?}");
        };
        assert_eq!((header.store_id, header.seq), (numbered.store_id, numbered.seq));
        let mut samples = 0;
        for entry in entries {
            samples += match entry.expect("what was written can be read") {
                Entry::Sample(..) => 1,
                Entry::Histogram(_, histogram) => histogram.counts.iter().sum(),
                Entry::Rejected(_, rejected) => rejected,
                Entry::Later => panic!("this release writes none of these"),
            };
        }
        assert_eq!(samples, weight::of_batch(batch, VALUES_PER_S));
        records.push(record);
    }
    Some(records)
}

/// Whether the two formats can hold these values alike: a decimal may be read a last digit off.
fn is_exact(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Number(number) => !number.is_f64(),
        serde_json::Value::Array(values) => values.iter().all(is_exact),
        serde_json::Value::Object(map) => map.values().all(is_exact),
        _ => true,
    }
}

fuzz_target!(|body: &[u8]| {
    let _records = records(body, Format::MessagePack);
    let from_json = records(body, Format::Json);
    // Only JSON can be an envelope.
    if let Ok(Parsed::Envelope(_)) = parse(body, Format::Json, LIMITS) {
        return;
    }
    // The tree keeps the last of two equal keys, and lists under them would add up.
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(body)
        && is_exact(&value)
        && value.to_string().len() == body.len()
    {
        let packed = rmp_serde::to_vec(&value).expect("memory");
        assert_eq!(records(&packed, Format::MessagePack), from_json);
    }
});
