//! A request's JSON: parsed, and if it is a request, validated and written as a journal record that
//! must read back with as many samples.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tillwatch::ingest::respond::Report;
use tillwatch::ingest::validate::{self, RequestTime, Writer};
use tillwatch::model::{Catalogue, Entry};
use tillwatch::wire::journal_record_v1::decode;
use tillwatch::wire::terminal_v1::{Limits, parse};

fuzz_target!(|body: &[u8]| {
    let limits = Limits {
        batches_max: 20,
        samples_max: 1_000,
    };
    let Ok(request) = parse(body, limits) else {
        return;
    };
    let catalogue = Catalogue::default();
    let time = RequestTime::new(1_763_683_200_000, &request.sent_at_ms);
    let writer = Writer {
        catalogue: &catalogue,
        time,
    };
    let mut report = Report::default();
    for (index, batch) in request.batches.iter().enumerate() {
        let Ok(identity) = validate::identify(batch) else {
            continue;
        };
        let mut record = Vec::new();
        let written = writer.write(&mut record, (batch, identity), None, (&mut report, index));
        assert_eq!(written.accepted + written.rejected.iter().sum::<u64>(), validate::weight(batch));
        let (header, entries) = decode(&record).expect("what was written can be read");
        assert_eq!((header.store_id, header.seq), (identity.store_id, identity.seq));
        let mut samples = 0;
        for entry in entries {
            samples += match entry.expect("what was written can be read") {
                Entry::Sample(..) => 1,
                Entry::Histogram(_, histogram) => histogram.counts.iter().sum(),
                Entry::Rejected(_, rejected) => rejected,
            };
        }
        assert_eq!(samples, validate::weight(batch));
    }
});
