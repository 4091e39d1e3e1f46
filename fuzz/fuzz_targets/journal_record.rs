//! The payload of a journal record: read, and applied to an aggregate.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tillwatch::aggregate::{Aggregator, Restored};
use tillwatch::config::{Config, Flags};
use tillwatch::pipeline;
use tillwatch_model::Catalogue;

fuzz_target!(|payload: &[u8]| {
    let config = Config::load(Flags::default(), None).expect("the defaults are right");
    let settings = pipeline::aggregate_settings(&config);
    let mut aggregator = Aggregator::new(Arc::new(Catalogue::default()), settings, Restored::default());
    let _result = aggregator.apply(1, payload);
    let cut = aggregator.take();
    let _rows = cut.windows.into_rows(&cut.tables);
    let _groups = cut.event_groups.into_rows(&cut.tables);
});
