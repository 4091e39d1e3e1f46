//! Takes a body apart: member by member, and where that fails, piece by piece.

use super::context::{Context, Take};
use super::json::Json;
use super::messagepack::Bytes;
use super::read::Top;
use super::request::{Format, Limits, ParseError, Parsed};
use super::tolerant;
use super::walk::{self, Broken, Walk};

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Takes a body apart. One bad sample does not fail it.
///
/// # Errors
/// When there are no batches to be found in it, or too many.
pub fn parse(body: &[u8], format: Format, limits: Limits) -> Result<Parsed<'_>, ParseError> {
    parse_within(body, format, limits, &mut |_bytes| true)
}

/// Parses as [`parse`] does, and asks `take` for memory before it takes any for what is in the body.
///
/// # Errors
/// When there are no batches to be found in the body, or too many, or `take` refuses.
pub fn parse_within<'b>(
    body: &'b [u8],
    format: Format,
    limits: Limits,
    take: Take<'_>,
) -> Result<Parsed<'b>, ParseError> {
    let mut context = Context::new(limits, take);
    let top = match format {
        Format::Json => {
            let text = text_of(body)?;
            match json(text, &mut context) {
                Ok(top) => top,
                Err(_) if context.has_excess() => return Err(context.into_excess()),
                Err(_) => {
                    context.begin_again();
                    if !context.takes(tolerant::json_bytes(text)) {
                        return Err(context.into_excess());
                    }
                    tolerant::json_top(text, &mut context)
                        .map_err(|error| ParseError::Malformed(error.to_string()))?
                }
            }
        }
        Format::MessagePack => match messagepack(body, &mut context) {
            Ok(top) => top,
            Err(_) if context.has_excess() => return Err(context.into_excess()),
            Err(_) => {
                context.begin_again();
                tolerant::messagepack_top(body, &mut context).ok_or_else(|| {
                    ParseError::Malformed("it is not one whole MessagePack map".to_owned())
                })?
            }
        },
    };
    if context.has_excess() {
        return Err(context.into_excess());
    }
    top.into_parsed(format, context.unknown_keys)
        .map_err(|text| ParseError::Malformed(text.to_owned()))
}

fn json<'a>(text: &'a str, context: &mut Context<'_>) -> Result<Top<'a>, Broken> {
    let mut rest = Json::new(text);
    let mut top = Top::default();
    walk::object(&mut rest, &mut top, context)?;
    rest.coming().is_empty().then_some(top).ok_or(Broken)
}

fn messagepack<'a>(body: &'a [u8], context: &mut Context<'_>) -> Result<Top<'a>, Broken> {
    let mut rest = Bytes(body);
    let mut top = Top::default();
    walk::object(&mut rest, &mut top, context)?;
    rest.coming().is_empty().then_some(top).ok_or(Broken)
}

/// The text of a body, without the byte order mark that some programs write before it.
fn text_of(body: &[u8]) -> Result<&str, ParseError> {
    let malformed = |text: String| Err(ParseError::Malformed(text));
    // A byte order mark, or a brace beside a zero, shows UTF-16 or UTF-32, in either byte order.
    if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'{', 0, ..] | [0, b'{', ..] = body {
        return malformed("it is written in UTF-16 or UTF-32; send UTF-8".to_owned());
    }
    match std::str::from_utf8(body) {
        Ok(text) => Ok(text.trim_start_matches(BYTE_ORDER_MARK)),
        Err(error) => malformed(format!("it is not UTF-8 ({error})")),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;
    use crate::doors::terminal_v1::{
        Batch, Dropped, Event, Field, Frame, Histogram, Number, Request, Sample,
    };

    const LIMITS: Limits = Limits {
        batches_max: 500,
        samples_max: 50_000,
    };

    /// Counts the bytes that the lists of a request take.
    fn taken(request: &Request<'_>) -> usize {
        let pairs = |histogram: &Histogram<'_>| {
            let pairs = histogram.buckets.value().map_or(0, Vec::capacity);
            pairs * size_of::<(u64, u64)>()
        };
        let batch = |batch: &Batch<'_>| {
            let frames = batch.events.iter().map(|event| event.frames.capacity());
            batch.samples.capacity() * size_of::<Sample<'_>>()
                + batch.events.capacity() * size_of::<Event<'_>>()
                + frames.sum::<usize>() * size_of::<Frame<'_>>()
                + batch.drops.capacity() * size_of::<Dropped<'_>>()
                + batch.histograms.capacity() * size_of::<Histogram<'_>>()
                + batch.histograms.iter().map(pairs).sum::<usize>()
        };
        let many = if request.is_many {
            request.batches.capacity()
        } else {
            0
        };
        many * size_of::<Batch<'_>>() + request.batches.iter().map(batch).sum::<usize>()
    }

    fn many(batch: &str, count: usize) -> Vec<u8> {
        format!("{{\"batches\":[{}]}}", vec![batch; count].join(",")).into_bytes()
    }

    /// Bodies of which little makes much.
    fn bodies() -> Vec<(&'static str, Vec<u8>, Format)> {
        let list = |key: &str, item: &str, count: usize| {
            format!("{{\"{key}\":[{}]}}", vec![item; count].join(",")).into_bytes()
        };
        let pairs = format!("{{\"buckets\":[{}]}}", vec!["[0,1]"; 4_096].join(","));
        let frames = format!("{{\"frames\":[{}]}}", vec!["{}"; 4_096].join(","));
        // A list of fifty thousand empty maps, a byte each.
        let mut packed = b"\x81\xa7samples\xdd\x00\x00\xc3\x50".to_vec();
        packed.resize(packed.len() + 50_000, 0x80);
        vec![
            ("empty samples", list("samples", "{}", 50_000), Format::Json),
            ("packed", packed, Format::MessagePack),
            (
                "no samples at all",
                list("samples", "5", 50_000),
                Format::Json,
            ),
            ("histograms", list("histograms", "{}", 50_000), Format::Json),
            ("pairs", list("histograms", &pairs, 80), Format::Json),
            ("events", list("events", "{}", 50_000), Format::Json),
            ("frames", list("events", &frames, 50), Format::Json),
            ("drops", list("drops", "{}", 50_000), Format::Json),
            (
                "many",
                many("{\"samples\":[{}],\"histograms\":[{}]}", 500),
                Format::Json,
            ),
        ]
    }

    #[test]
    fn memory_is_asked_for_before_it_is_taken_and_where_there_is_none_reading_stops() {
        for (name, body, format) in bodies() {
            let mut asked = 0;
            let parsed = parse_within(&body, format, LIMITS, &mut |bytes| {
                asked += bytes;
                true
            });
            let Ok(Parsed::Request(request)) = parsed else {
                panic!("{name}: {parsed:?}");
            };
            let taken = taken(&request);
            assert!(taken > 50_000, "{name}: {taken}");
            assert!(asked >= taken, "{name}: {asked} asked for, {taken} taken");
            let mut left = taken / 2;
            let refused = parse_within(&body, format, LIMITS, &mut |bytes| {
                let is_there = bytes <= left;
                left = left.saturating_sub(bytes);
                is_there
            });
            assert_eq!(refused.err(), Some(ParseError::NoRoom), "{name}");
        }
    }

    #[test]
    fn many_small_batches_do_not_take_the_room_of_large_ones() {
        let small = many("{\"samples\":[{}]}", 500);
        let Ok(Parsed::Request(request)) = parse(&small, Format::Json, LIMITS) else {
            panic!("it is a request");
        };
        let samples: usize = request
            .batches
            .iter()
            .map(|batch| batch.samples.capacity())
            .sum();
        assert!(
            samples < 600,
            "room for {samples} samples, and there are 500"
        );
        let usual = many(&format!("{{\"samples\":[{}]}}", ["{}"; 40].join(",")), 500);
        let Ok(Parsed::Request(request)) = parse(&usual, Format::Json, LIMITS) else {
            panic!("it is a request");
        };
        let of_one: Vec<usize> = request
            .batches
            .iter()
            .map(|batch| batch.samples.capacity())
            .collect();
        assert_eq!(
            of_one[1..],
            [40; 499],
            "made once, for as many as the one before had"
        );
    }

    /// A value as JSON may have it, or nearly.
    fn value_text() -> impl Strategy<Value = String> {
        let odd = prop::sample::select(vec![
            "null",
            "true",
            "false",
            "0",
            "-0",
            "7",
            "-7",
            "00",
            "1.",
            ".5",
            "1.5",
            "0.1",
            "1e3",
            "1E400",
            "9007199254740993",
            "18446744073709551615",
            "18446744073709551616",
            "0.30000000000000004",
            "123456789012345678.9",
            "1234567890123456789.5",
            "0.12345678901234567890123",
            "99999999999.99999999999999",
            "\"\"",
            "\"a\"",
            "\"lcp_ms\"",
            "\"\\u0041\"",
            "\"\\ud800\"",
            "\"\\q\"",
            "\"tab\\t and more text\"",
            "\"\u{1}\"",
            "\"größer als acht\"",
            "\"open",
            "[]",
            "{}",
            "[[1,2],[3.0,4]]",
            "[[1]]",
            "{\"a\":[{}]}",
            "[1,]",
            "{,}",
            "nul",
            "truex",
            "+1",
            "",
        ]);
        let number = (any::<u64>(), 0..24_usize).prop_map(|(number, decimals)| {
            let digits = format!("{number:0>width$}", width = decimals + 1);
            let (whole, part) = digits.split_at(digits.len() - decimals);
            if part.is_empty() {
                digits
            } else {
                format!("{whole}.{part}")
            }
        });
        prop_oneof![3 => odd.prop_map(str::to_owned), 1 => number]
    }

    fn member_text(keys: &'static [&'static str]) -> impl Strategy<Value = String> {
        let colon = prop::sample::select(vec![":", ":", ":", " :\t", "", ","]);
        (prop::sample::select(keys), colon, value_text())
            .prop_map(|(key, colon, value)| format!("{key}{colon}{value}"))
    }

    fn join(
        of: impl Strategy<Value = String>,
        ends: [&'static str; 2],
    ) -> impl Strategy<Value = String> {
        let comma = prop::sample::select(vec![",", ",", ",", ",", " , ", "\n,", "", ",,"]);
        let lead = prop::sample::select(vec!["", "", "", "", "", " ", ","]);
        (lead, prop::collection::vec(of, 0..6), comma)
            .prop_map(move |(lead, of, comma)| [ends[0], lead, &of.join(comma), ends[1]].concat())
    }

    /// A body of the shape of a request, its members in any order and number, and some of them wrong.
    fn body_text() -> impl Strategy<Value = String> {
        const SAMPLE: &[&str] = &[
            "\"m\"",
            "\"t\"",
            "\"v\"",
            "\"label\"",
            "\"connection\"",
            "\"z\"",
            "\"\\u006d\"",
            "m",
            "\"\\\"",
            "\"span_ms\"",
            "\"buckets\"",
            "\"sum\"",
            "\"a long key that nobody knows\"",
            "\"k\"",
            "\"count\"",
            "\"frames\"",
            "\"message\"",
            "\"from\"",
            "\"queue\"",
        ];
        const BATCH: &[&str] = &[
            "\"v\"",
            "\"store_id\"",
            "\"terminal_id\"",
            "\"queue\"",
            "\"seq\"",
            "\"release\"",
            "\"session_id\"",
            "\"consent\"",
            "\"source\"",
            "\"sent_at_ms\"",
            "\"samples\"",
            "\"stranger\"",
            "\"data\"",
            "\"format\"",
        ];
        let list = |key: &'static str| {
            let sample = join(member_text(SAMPLE), ["{", "}"]);
            let element = prop_oneof![12 => sample, 1 => value_text()];
            join(element, ["[", "]"]).prop_map(move |list| format!("\"{key}\":{list}"))
        };
        let member = move || {
            prop_oneof![
                4 => member_text(BATCH),
                2 => list("samples"),
                1 => list("histograms"),
                1 => list("events"),
                1 => list("drops"),
            ]
        };
        let batch = join(member(), ["{", "}"]);
        let many = join(batch, ["[", "]"]).prop_map(|list| format!("\"batches\":{list}"));
        let top = prop_oneof![6 => member(), 1 => many];
        (
            join(top, ["{", "}"]),
            prop::sample::select(vec!["", "", "", " ", "\n", "x", "}"]),
        )
            .prop_map(|(body, behind)| body + behind)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        /// The walk reads what it can exactly as taking the body apart does.
        #[test]
        fn whether_walked_or_taken_apart_json_says_the_same(text in body_text()) {
            let mut unlimited = |_bytes: usize| true;
            let mut walked = Context::new(LIMITS, &mut unlimited);
            let mut said = |_bytes: usize| true;
            let mut apart = Context::new(LIMITS, &mut said);
            let by_pieces = tolerant::json_top(&text, &mut apart);
            if let Ok(top) = json(&text, &mut walked) {
                let by_pieces = by_pieces.expect("what is walked through is JSON");
                prop_assert_eq!(walked.unknown_keys, apart.unknown_keys);
                let [walked, apart] = [top, by_pieces]
                    .map(|top| format!("{:?}", top.into_parsed(Format::Json, 0)));
                prop_assert_eq!(walked, apart);
            }
        }

        /// The walk reads MessagePack as taking it apart does, whole and with a byte changed.
        #[test]
        fn whether_walked_or_taken_apart_messagepack_says_the_same(
            text in body_text(), at: prop::sample::Index, byte: u8, is_whole: bool,
        ) {
            let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) else {
                return Ok(());
            };
            let mut body = rmp_serde::to_vec(&value).unwrap();
            if !is_whole {
                let at = at.index(body.len());
                body[at] = byte;
            }
            let mut unlimited = |_bytes: usize| true;
            let mut walked = Context::new(LIMITS, &mut unlimited);
            let mut said = |_bytes: usize| true;
            let mut apart = Context::new(LIMITS, &mut said);
            let by_pieces = tolerant::messagepack_top(&body, &mut apart);
            if let Ok(top) = messagepack(&body, &mut walked) {
                let by_pieces = by_pieces.expect("what is walked through is MessagePack");
                prop_assert_eq!(walked.unknown_keys, apart.unknown_keys);
                let [walked, apart] = [top, by_pieces]
                    .map(|top| format!("{:?}", top.into_parsed(Format::MessagePack, 0)));
                prop_assert_eq!(walked, apart);
            }
        }
    }

    #[test]
    fn a_body_as_terminals_write_it_is_walked_to_its_end() {
        let sample =
            r#"{"m":"lcp_ms","t":1795000000000,"v":12.5,"label":"hit","connection":"online"}"#;
        let text = format!(
            r#"{{"v":1,"sent_at_ms":1795000000000,"store_id":"s","queue":"q","seq":100000000000,"consent":true,"samples":[{sample}, {sample}]}}"#
        );
        let mut unlimited = |_bytes: usize| true;
        let top = json(&text, &mut Context::new(LIMITS, &mut unlimited)).expect("it is plain");
        let Ok(Parsed::Request(request)) = top.into_parsed(Format::Json, 0) else {
            panic!("it is a request");
        };
        let [batch] = &request.batches[..] else {
            panic!("it is one batch");
        };
        assert_eq!(
            request.sent_at_ms,
            Field::Is(Number::Unsigned(1_795_000_000_000))
        );
        assert_eq!(batch.seq, Field::Is(Number::Unsigned(100_000_000_000)));
        assert_eq!(batch.consent, Field::Is(true));
        let [_, second] = &batch.samples[..] else {
            panic!("they are two samples");
        };
        assert_eq!(second.metric, Field::Is(Cow::Borrowed("lcp_ms")));
        assert_eq!(second.t, Field::Is(Number::Unsigned(1_795_000_000_000)));
        assert_eq!(second.v, Field::Is(Number::Float(12.5)));
        assert_eq!(second.connection, Field::Is(Cow::Borrowed("online")));
    }
}
