//! Payloads as the SDK and others write them, and what is read of them.

use tillwatch_model::Reason;

use super::read::{Ignored, List, Payload};
use super::visits::Visits;
use super::{Limits, read};
use crate::doors::foreign::Visitor;
use crate::doors::refusal::Refusal;
use crate::intake::offer::{Field, Number};
use crate::mapping::{Door, Mapping, lookup};

const NOW_MS: i64 = 1_763_683_200_000;

fn read_within<'b>(
    body: &'b str,
    mapping: &Mapping,
    samples_max: usize,
    are_logs_counted: bool,
) -> Result<Payload<'b>, Refusal> {
    let limits = Limits {
        samples_max,
        are_logs_counted,
        received_at_ms: NOW_MS,
        lookup: lookup(mapping, Door::Faro),
    };
    read(body.as_bytes(), limits, &mut |_| Ok(()))
}

fn payload(body: &str) -> Payload<'_> {
    read_within(body, &Mapping::default(), 1_000, false).unwrap()
}

/// Names and values of the samples; what is refused has its reason.
fn samples(payload: &Payload<'_>) -> Vec<(String, String)> {
    let samples = payload.batch.samples.iter().map(|sample| {
        let name = sample.metric.value().map_or("-", AsRef::as_ref).to_owned();
        let value = match (&sample.refused, &sample.v) {
            (Some(reason), _) => reason.name().to_owned(),
            (None, Field::Is(value)) => value.as_f64().to_string(),
            (None, wrong) => format!("{wrong:?}"),
        };
        (name, value)
    });
    samples.collect()
}

fn pairs<const N: usize>(expected: [(&str, &str); N]) -> Vec<(String, String)> {
    expected
        .map(|(name, value)| (name.into(), value.into()))
        .into()
}

#[test]
fn a_web_vital_is_its_metric_and_what_explains_it_is_none() {
    let body = r#"{"meta":{},"measurements":[
        {"type":"web-vitals","values":{"lcp":1890.2,"delta":1890.2,"element_render_delay":5},"timestamp":"2025-11-21T00:00:00.123Z","context":{"id":"v4-1","rating":"good"}},
        {"type":"web-vitals","values":{"cls":"0.05","delta":0.05,"largest_shift_value":0.01},"context":{"id":"v4-2"}},
        {"type":"web-vitals","values":{"fid":3,"delta":3},"context":{"id":"v4-3"}}]}"#;
    let read = payload(body);
    assert_eq!(
        samples(&read),
        pairs([("lcp_ms", "1890.2"), ("cls_score", "0.05")])
    );
    let times: Vec<_> = read.batch.samples.iter().map(|sample| sample.t).collect();
    let is = |ms| Field::Is(Number::Unsigned(ms));
    assert_eq!(times, [is(1_763_683_200_123), is(1_763_683_200_000)]);
}

#[test]
fn of_the_reports_of_a_page_visit_the_last_counts() {
    let report = |id: &str, value: &str| {
        format!(r#"{{"type":"web-vitals","values":{{"inp":{value}}},"context":{{"id":"{id}"}}}}"#)
    };
    let reports = [
        report("a", "10"),
        report("b", "20"),
        report("a", "30"),
        report("a", "\"soon\""),
        report("", "40"),
        report("", "50"),
    ];
    let body = format!(r#"{{"meta":{{}},"measurements":[{}]}}"#, reports.join(","));
    let read = payload(&body);
    let expected = pairs([
        ("inp_ms", "30"),
        ("inp_ms", "20"),
        ("inp_ms", "Wrong"),
        ("inp_ms", "40"),
        ("inp_ms", "50"),
    ]);
    assert_eq!((samples(&read), read.batch.repeated), (expected, 1));
    let items: Vec<usize> = read.places.iter().map(|place| place.item).collect();
    assert_eq!(items, [2, 1, 3, 4, 5]);
}

#[test]
fn each_number_of_a_measurement_is_a_sample_and_a_lone_value_is_named_by_the_type() {
    let body = r#"{"meta":{},"measurements":[
        {"type":"pos","values":{"sync_duration_ms":812,"login_ms":"90","delta":1},"context":{"label":"pull","connection":"offline","more":{"deep":[1]}}},
        {"type":"sync_duration_ms","values":{"value":5}},
        {"type":"own","values":{"value":5,"other":6}},
        {"type":"own","values":{}}, {"type":"own"}, {"type":"own","values":[1]}, 7, null]}"#;
    let read = payload(body);
    let malformed = ("-", "malformed_sample");
    let expected = pairs([
        ("sync_duration_ms", "812"),
        ("login_ms", "90"),
        ("delta", "1"),
        ("sync_duration_ms", "5"),
        ("value", "5"),
        ("other", "6"),
        malformed,
        malformed,
        malformed,
        malformed,
        malformed,
    ]);
    assert_eq!(samples(&read), expected);
    let first = &read.batch.samples[0];
    assert_eq!(first.label, Field::Is("pull".into()));
    assert_eq!(first.connection, Field::Is("offline".into()));
}

#[test]
fn a_bad_item_costs_one_item_and_a_list_that_is_none_costs_one() {
    let body = r#"{"meta":5,"measurements":{"a":1},"events":[5,{"name":"a b"},{}],"exceptions":"x","logs":null,"more":[[]]}"#;
    let read = payload(body);
    assert_eq!(read.batch.samples[0].refused, Some(Reason::MalformedSample));
    let events = read.batch.events.iter();
    let events: Vec<_> = events
        .map(|event| (event.malformed, event.name.value().map(AsRef::as_ref)))
        .collect();
    let expected = [
        (true, None),
        (false, Some("a_b")),
        (false, None),
        (true, None),
    ];
    assert_eq!(events, expected);
    let places = [
        (List::Events, 0),
        (List::Events, 1),
        (List::Events, 2),
        (List::Exceptions, 0),
    ];
    assert_eq!(read.event_places, places);
}

#[test]
fn an_exception_is_scrubbed_when_it_is_read_and_an_odd_frame_does_not_spoil_it() {
    let body = r#"{"meta":{},"exceptions":[{"type":"TypeError","value":"no 'Anna Schmidt'","fatal":true,"timestamp":"2025-11-21T01:00:00+01:00",
        "stacktrace":{"frames":[{"function":"pay","filename":"https://till.example/app.js?user=anna","lineno":"12","colno":"x","in_app":true},5]}}]}"#;
    let read = payload(body);
    let [event] = &*read.batch.events else {
        panic!("one event");
    };
    assert_eq!(event.t, Field::Is(Number::Unsigned(1_763_683_200_000)));
    assert_eq!(event.fatal, Field::Is(true));
    let (_, example) = event.scrubbed.clone().unwrap().unwrap();
    assert_eq!(
        (&*example.type_name, &*example.message),
        ("TypeError", "no *")
    );
    let frames = &*example.frames_json;
    assert!(frames.contains("pay") && frames.contains("12"), "{frames}");
    assert!(!frames.contains("anna"), "{frames}");
}

#[test]
fn logs_count_if_they_shall_and_traces_never_do() {
    let body = r#"{"meta":{},"logs":[{"message":"a","level":"warn"},{"message":"b","level":"warning"},3],"traces":{"resourceSpans":[{},{}]}}"#;
    let passed = payload(body);
    let ignored = Ignored { logs: 3, traces: 2 };
    assert_eq!((passed.ignored, passed.batch.len()), (ignored, 0));
    let counted = read_within(body, &Mapping::default(), 1_000, true).unwrap();
    let names: Vec<_> = counted
        .batch
        .events
        .iter()
        .map(|event| event.name.value())
        .collect();
    assert_eq!(names.len(), 3);
    assert!(
        names
            .iter()
            .all(|name| name.is_some_and(|name| name == "log"))
    );
    assert_eq!(counted.ignored, Ignored { logs: 0, traces: 2 });
}

#[test]
fn too_many_items_are_refused_whatever_list_they_are_in() {
    for list in ["measurements", "events", "exceptions"] {
        let body = |items: usize| format!(r#"{{"{list}":[{}]}}"#, vec!["1"; items].join(","));
        let (few, many) = (body(9), body(10));
        assert!(
            read_within(&few, &Mapping::default(), 9, false).is_ok(),
            "{list}"
        );
        let refused = read_within(&many, &Mapping::default(), 9, false);
        assert!(matches!(refused, Err(Refusal::TooManySamples(9))), "{list}");
    }
}

#[test]
fn more_events_than_a_batch_holds_make_several_of_the_same_terminal() {
    let events = vec![r#"{"name":"e"}"#; 120].join(",");
    let body = format!(
        r#"{{"meta":{{"app":{{"installationId":"till-7"}}}},"measurements":[1],"events":[{events}]}}"#
    );
    let batches = payload(&body).into_batches();
    let held: Vec<_> = batches
        .iter()
        .map(|batch| (batch.samples.len(), batch.events.len()))
        .collect();
    assert_eq!(held, [(1, 50), (0, 50), (0, 20)]);
    let named = |batch| format!("{batch:?}").contains("till-7");
    assert!(batches.iter().all(named));
}

#[test]
fn a_later_report_of_a_visit_is_a_repetition_unless_the_body_is_the_same_or_nothing_was_counted() {
    let visits = Visits::default();
    let visitor = Visitor {
        store_id: "s",
        terminal_id: "t",
        session_id: "x",
    };
    let body = |value: u32| {
        format!(
            r#"{{"meta":{{}},"measurements":[{{"type":"own","values":{{"a":1,"b":2}}}},{{"type":"web-vitals","values":{{"lcp":{value}}},"context":{{"id":"v"}}}}]}}"#
        )
    };
    let sift = |body: &str, visitor| {
        let mut payload = payload(body);
        let sifted = visits.sift(&payload, visitor, body.as_bytes());
        let first = payload.keep(sifted);
        let left = payload.batch.samples.len();
        assert_eq!(
            (payload.places.len(), payload.batch.repeated),
            (left, 3 - left as u64)
        );
        (left, first)
    };
    let (one, two) = (body(1), body(2));
    let (left, first) = sift(&one, visitor);
    assert_eq!(left, 3);
    assert_eq!(sift(&two, visitor).0, 2, "the visit is known");
    assert_eq!(sift(&one, visitor).0, 3, "a resend is the intake's");
    visits.settle(first, None);
    let (left, _first) = sift(&two, visitor);
    assert_eq!(left, 3, "nothing had been counted");
    for other in [
        Visitor {
            store_id: "s2",
            ..visitor
        },
        Visitor {
            session_id: "",
            ..visitor
        },
        Visitor {
            session_id: "",
            terminal_id: "x",
            ..visitor
        },
    ] {
        assert_eq!(sift(&one, other).0, 3, "{other:?}");
    }
}
