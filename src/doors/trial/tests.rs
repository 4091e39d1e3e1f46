//! Payloads whose fate is known, item by item.

use super::*;

const NOW_MS: i64 = 1_763_683_200_000;

fn tried(body: &str) -> Trial {
    let by = By {
        rules: &Rules::default(),
        catalogue: &Catalogue::default(),
        limits: Limits::default(),
        histogram_values_per_s: 1_000,
        now_ms: NOW_MS,
        received_at_ms: None,
    };
    trial(body.as_bytes(), Format::of(body.as_bytes()), by).unwrap()
}

#[test]
fn faults_of_a_batch_are_named_with_their_place_and_line() {
    let body = format!(
        "{{\"v\": 1, \"store_id\": \"s\", \"terminal_id\": \"t\", \"consent\": true, \"colour\": 1,\n\
         \"queue\": \"7b0e7c0a-5d0f-4c57-9c1c-0c0f3c2f5a11\", \"seq\": 1,\n\
         \"samples\": [\n\
         {{\"m\": \"lcp_ms\", \"t\": {NOW_MS}, \"v\": 1}},\n\
         {{\"m\": \"no_such\", \"t\": {NOW_MS}, \"v\": 1}},\n\n\
         {{\"m\": \"errors\", \"t\": {NOW_MS}, \"v\": -1, \"label\": \"sync\"}}],\n\
         \"histograms\": [{{\"m\": \"lcp_ms\", \"t\": {NOW_MS}}}],\n\
         \"events\": [{{\"k\": \"offline\", \"t\": {NOW_MS}}}, {{\"k\": \"party\", \"t\": {NOW_MS}}}]}}"
    );
    let trial = tried(&body);
    let found: Vec<_> = trial
        .items
        .iter()
        .map(|item| (&*item.place, item.line, item.rejected.map(Reason::name)))
        .collect();
    assert_eq!(
        found,
        [
            ("", Some(1), None),
            ("samples[0]", Some(4), None),
            ("samples[1]", Some(5), Some("unknown_metric")),
            ("samples[2]", Some(7), Some("out_of_range")),
            ("histograms[0]", Some(8), Some("invalid_histogram")),
            ("events[0]", Some(9), None),
            ("events[1]", Some(9), Some("unknown_kind")),
        ]
    );
    assert_eq!((trial.outcomes.accepted, trial.outcomes.rejected), (2, 4));
    assert_eq!(trial.unknown_keys, 1);
}

#[test]
fn a_batch_of_many_that_is_refused_whole_says_why_and_where() {
    let batch = "{\"v\": 1, \"store_id\": \"s\", \"terminal_id\": \"t\", \"samples\": []}";
    let trial = tried(&format!("{{\"batches\": [\n{batch},\n{batch}]}}"));
    let found: Vec<_> = trial
        .items
        .iter()
        .map(|item| (&*item.place, item.line, item.rejected.map(Reason::name)))
        .collect();
    let why = Some("invalid_seq");
    assert_eq!(
        found,
        [("batches[0]", Some(2), why), ("batches[1]", Some(3), why)]
    );
}

#[test]
fn times_are_held_against_when_the_payload_says_that_it_was_sent() {
    let long_ago_ms = NOW_MS - 400 * 24 * 3_600_000;
    let body = format!(
        "{{\"v\": 1, \"store_id\": \"s\", \"terminal_id\": \"t\", \"consent\": true, \"sent_at_ms\": {long_ago_ms},\
         \"queue\": \"7b0e7c0a-5d0f-4c57-9c1c-0c0f3c2f5a11\", \"seq\": 1,\
         \"samples\": [{{\"m\": \"lcp_ms\", \"t\": {long_ago_ms}, \"v\": 1}}]}}"
    );
    assert_eq!(tried(&body).outcomes.accepted, 1);
}

#[test]
fn of_foreign_payloads_every_name_is_explained() {
    let rules = Rules {
        mapping: crate::mapping::Mapping {
            rules: Vec::new(),
            sets: crate::mapping::Set::ALL.to_vec(),
        },
        otlp: Rule {
            is_consent_assumed: true,
            store: Some("s".into()),
        },
        ..Rules::default()
    };
    let body = format!(
        "{{\"resourceMetrics\": [{{\"scopeMetrics\": [{{\"metrics\": [\
         {{\"name\": \"process.memory.usage\", \"unit\": \"By\", \"gauge\": {{\"dataPoints\": [{{\"timeUnixNano\": \"{NOW_MS}000000\", \"asInt\": \"5000000\"}}]}}}},\
         {{\"name\": \"jvm.threads\", \"gauge\": {{\"dataPoints\": [{{\"timeUnixNano\": \"{NOW_MS}000000\", \"asInt\": \"5\"}}]}}}}]}}]}}]}}"
    );
    let by = By {
        rules: &rules,
        catalogue: &Catalogue::default(),
        limits: Limits::default(),
        histogram_values_per_s: 1_000,
        now_ms: NOW_MS,
        received_at_ms: None,
    };
    let format = Format::of(body.as_bytes());
    assert_eq!(format, Format::Otlp(otlp::Encoding::Json));
    let trial = trial(body.as_bytes(), format, by).unwrap();
    let names: Vec<_> = trial.heard.keys().map(String::as_str).collect();
    assert_eq!(names, ["jvm.threads", "process.memory.usage"]);
    let values: Vec<_> = trial
        .items
        .iter()
        .map(|item| (&*item.name, &*item.value, item.rejected.map(Reason::name)))
        .collect();
    assert_eq!(
        values[1..],
        [
            ("memory_used_mb", "5", None),
            ("jvm.threads", "-", Some("unknown_metric")),
        ]
    );
}

#[test]
fn a_format_is_recognised_by_how_a_payload_begins() {
    for (body, expected) in [
        (&b"{\"v\":1}"[..], Format::Native(terminal_v1::Format::Json)),
        (b" \n[", Format::Native(terminal_v1::Format::Json)),
        (b"{\"meta\":{}}", Format::Faro),
        (b"{\"sessionId\":\"1\",\"metrics\":{}}", Format::Legacy),
        (
            b"\x81\xa1v\x01",
            Format::Native(terminal_v1::Format::MessagePack),
        ),
        (b"\x0a\x00", Format::Otlp(otlp::Encoding::Protobuf)),
    ] {
        assert_eq!(Format::of(body), expected);
    }
}

/// Each of them is what a client sends; what the fuzzer starts from must not rot.
#[test]
fn the_seeds_of_the_fuzzer_are_recognised_and_hold_something_to_judge() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/trial");
    let rule = Rule {
        is_consent_assumed: true,
        store: Some("s".into()),
    };
    let rules = Rules {
        legacy: rule.clone(),
        faro: rule.clone(),
        otlp: rule,
        ..Rules::default()
    };
    let mut seeds = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let body = std::fs::read(&path).unwrap();
        let by = By {
            rules: &rules,
            catalogue: &Catalogue::default(),
            limits: Limits::default(),
            histogram_values_per_s: 1_000,
            now_ms: NOW_MS,
            received_at_ms: None,
        };
        let tried = trial(&body, Format::of(&body), by).unwrap();
        let outcomes = tried.outcomes;
        let is_envelope = path.ends_with("envelope");
        assert!(
            is_envelope || outcomes.accepted >= 2,
            "{path:?}: {outcomes:?}"
        );
        seeds += 1;
    }
    assert!(seeds >= 8);
}
