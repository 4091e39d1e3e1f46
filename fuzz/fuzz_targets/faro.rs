//! A payload of Grafana Faro's Web SDK: whatever it holds, it is read or refused, within the limits, and asks for the
//! memory that it takes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tillwatch::doors::faro::{Limits, read};
use tillwatch::mapping::{Door, Lookup, Mapping, Set};
use tillwatch_model::Catalogue;

const SAMPLES_MAX: usize = 1_000;

fuzz_target!(|body: &[u8]| {
    let catalogue = Catalogue::default();
    let mapping = Mapping {
        rules: Vec::new(),
        sets: Set::ALL.to_vec(),
    };
    let lookup = Lookup {
        catalogue: &catalogue,
        mapping: &mapping,
        door: Door::Faro,
        heard: None,
    };
    for are_logs_counted in [false, true] {
        let limits = Limits {
            samples_max: SAMPLES_MAX,
            are_logs_counted,
            received_at_ms: 1_763_683_200_000,
            lookup,
        };
        let mut taken = 0;
        let payload = read(body, limits, &mut |bytes| {
            taken += bytes;
            Ok(())
        });
        if let Ok(payload) = payload {
            let items = payload.items();
            assert!(items <= SAMPLES_MAX);
            assert!(items == 0 || taken > 0);
        }
    }
});
