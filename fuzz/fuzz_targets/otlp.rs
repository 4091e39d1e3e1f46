//! A body of OTLP metrics, in both encodings: read, or refused, and never worse. What is read asks for the memory of
//! what it keeps.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tillwatch::doors::otlp::{Encoding, points};
use tillwatch::mapping::{Door, Lookup, Mapping, Set};
use tillwatch_model::Catalogue;

fuzz_target!(|body: &[u8]| {
    let catalogue = Catalogue::default();
    let mapping = Mapping {
        rules: Vec::new(),
        sets: Set::ALL.to_vec(),
    };
    let lookup = Lookup {
        catalogue: &catalogue,
        mapping: &mapping,
        door: Door::Otlp,
        heard: None,
    };
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        let _points = points(body, encoding, lookup);
    }
});
