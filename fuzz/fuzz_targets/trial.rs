//! A payload of any door, from its bytes to the judgement on each of its values: whatever it holds, it is judged or
//! refused, and every value meets one outcome.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tillwatch::doors::foreign::{Rule, Rules};
use tillwatch::doors::{BODY_FIRST, Limits};
use tillwatch::doors::trial::{By, Format, trial};
use tillwatch::mapping::{Mapping, Set};
use tillwatch_model::Catalogue;

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let rule = Rule {
        is_consent_assumed: true,
        store: Some("store-1".into()),
    };
    Rules {
        legacy: rule.clone(),
        faro: rule.clone(),
        otlp: rule,
        are_faro_logs_counted: true,
        mapping: Mapping {
            rules: Vec::new(),
            sets: Set::ALL.to_vec(),
        },
    }
});
/// As `serve` has them.
const LIMITS: Limits = Limits {
    body_bytes_max: 2 << 20,
    decoded_bytes_max: 2 << 20,
    body_timeout: Duration::from_secs(120),
    body_first: BODY_FIRST,
    body_bytes_per_s_min: 1_024,
    batches_max: 500,
    samples_max: 50_000,
    slow: Duration::from_secs(1),
};
static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(Catalogue::default);

fuzz_target!(|body: &[u8]| {
    let by = By {
        rules: &RULES,
        catalogue: &CATALOGUE,
        limits: LIMITS,
        histogram_values_per_s: 1_000,
        now_ms: 1_763_683_200_000,
        received_at_ms: None,
    };
    if let Ok(trial) = trial(body, Format::of(body), by) {
        // A batch that is refused whole may hold nothing; a part of one has weight.
        let is_part = |place: &str| {
            let last = place.rsplit('.').next().unwrap_or_default();
            !last.is_empty() && !last.starts_with("batches[")
        };
        let mut parts = trial.items.iter().filter(|item| is_part(&item.place));
        assert!(parts.all(|item| item.rejected.is_none()) || trial.outcomes.rejected > 0);
    }
});
