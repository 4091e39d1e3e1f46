//! The payload of a journal record: read, and applied to an aggregate.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tillwatch::aggregate::{Aggregator, Restored, Settings};
use tillwatch_model::Catalogue;

fuzz_target!(|payload: &[u8]| {
    let mut aggregator = Aggregator::new(Arc::new(Catalogue::default()), Settings::default(), Restored::default());
    let _result = aggregator.apply(1, payload);
    let cut = aggregator.take();
    let _rows = cut.windows.into_rows(&cut.tables);
});
