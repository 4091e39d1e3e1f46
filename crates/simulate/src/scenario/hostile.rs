//! A terminal that means harm, and what each of its requests must be answered.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::Serialize;
use serde_json::{Value, json};
use tillwatch_model::time::wall_ms;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// The store it pretends to be in; nobody else's batches are in it.
const STORE: &str = "hostile-store";
/// How many connections it leaves with half a request.
const HALF_REQUESTS: usize = 50;
/// Requests of one kind under way at once.
const AT_ONCE: usize = 16;

/// One kind of harm.
struct Harm {
    name: &'static str,
    times: u32,
    content_type: &'static str,
    content_encoding: Option<&'static str>,
    /// The body of the request with this number.
    body: Box<dyn Fn(u64) -> Vec<u8> + Send + Sync>,
    /// The status it must be answered with.
    status: u16,
    /// The code in the error's body, or the reason of every rejected sample.
    code: &'static str,
    /// Samples in it that must be rejected, or must not be counted at all when it is refused unread.
    rejected: u64,
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Harmed {
    /// Requests sent.
    pub requests: u64,
    /// Requests by the status they had to be answered with, when that is not 202.
    pub refused: BTreeMap<u16, u64>,
    /// Samples that had to be rejected, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Connections left with half a request, and those of them that the server closed.
    pub half_requests: [usize; 2],
    /// Answers that were not what they had to be.
    pub surprises: Vec<String>,
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// A right batch of one sample, to be spoilt.
fn batch(seq: u64) -> Value {
    json!({
        "v": 1, "sent_at_ms": wall_ms(), "store_id": STORE, "terminal_id": "till-1",
        "queue": "5f0c6a52-6f3f-4c0e-8f43-2a6b2f1f8f10", "seq": seq, "release": "6.6.6",
        "consent": true, "samples": [{"m": "sync_duration_ms", "t": wall_ms(), "v": 1}]
    })
}

fn with(mut batch: Value, key: &str, value: Value) -> Vec<u8> {
    if let Some(object) = batch.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
    batch.to_string().into_bytes()
}

fn harm(
    name: &'static str,
    times: u32,
    status: u16,
    code: &'static str,
    rejected: u64,
    body: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static,
) -> Harm {
    Harm {
        name,
        times,
        content_type: "application/json",
        content_encoding: None,
        body: Box::new(body),
        status,
        code,
        rejected,
    }
}

#[expect(clippy::too_many_lines, reason = "a table of requests")]
fn harms() -> Vec<Harm> {
    const MANY: usize = 200;
    // Packed once: it would keep the simulator busy.
    let bomb = gzip(&vec![b' '; 64_000_000]);
    let sample = |metric: String, value: Value| json!([{"m": metric, "t": wall_ms(), "v": value}]);
    vec![
        harm("no JSON", 50, 400, "malformed_body", 0, |_| {
            b"<xml/>".to_vec()
        }),
        harm("brackets", 20, 400, "malformed_body", 0, |_| {
            vec![b'['; 1_000_000]
        }),
        harm("half a batch", 50, 400, "malformed_body", 0, |seq| {
            let text = batch(seq).to_string();
            text.as_bytes()
                .iter()
                .take(text.len() / 2)
                .copied()
                .collect()
        }),
        Harm {
            content_encoding: Some("gzip"),
            ..harm("damaged gzip", 50, 400, "damaged_compression", 0, |seq| {
                let mut packed = gzip(batch(seq).to_string().as_bytes());
                let middle = packed.len() / 2;
                packed
                    .iter_mut()
                    .skip(middle)
                    .for_each(|byte| *byte ^= 0x5a);
                packed
            })
        },
        Harm {
            content_encoding: Some("gzip"),
            ..harm("gzip bomb", 20, 413, "body_too_large", 0, move |_| {
                bomb.clone()
            })
        },
        harm("3 MiB", 20, 413, "body_too_large", 0, |_| {
            vec![b' '; 3 * 1024 * 1024]
        }),
        harm("1,000 batches", 20, 413, "too_many_batches", 0, |_| {
            json!({"sent_at_ms": wall_ms(), "batches": vec![json!({}); 1_000]})
                .to_string()
                .into_bytes()
        }),
        Harm {
            content_type: "text/html",
            ..harm(
                "a web page",
                20,
                415,
                "unsupported_content_type",
                0,
                |seq| batch(seq).to_string().into_bytes(),
            )
        },
        harm(
            "another version",
            50,
            422,
            "unsupported_version",
            1,
            |seq| with(batch(seq), "v", json!(9)),
        ),
        harm("no consent", 50, 422, "no_consent", 1, |seq| {
            with(batch(1_000 + seq), "consent", json!(false))
        }),
        harm(
            "a store's name with a line break",
            50,
            422,
            "invalid_store_id",
            1,
            |seq| with(batch(seq), "store_id", json!("x\ny")),
        ),
        harm("a huge number", 1, 422, "seq_jump", 1, |_| {
            batch(u64::MAX / 2).to_string().into_bytes()
        }),
        harm(
            "made-up metrics",
            100,
            202,
            "unknown_metric",
            MANY as u64,
            move |seq| {
                let samples: Vec<Value> = (0..MANY)
                    .map(|number| json!({"m": format!("m_{seq}_{number}"), "t": wall_ms(), "v": 1}))
                    .collect();
                with(batch(2_000 + seq), "samples", json!(samples))
            },
        ),
        harm("made-up labels", 100, 202, "unknown_label", 1, move |seq| {
            let label = json!([{"m": "cache_requests", "t": wall_ms(), "v": 1, "label": format!("l{seq}")}]);
            with(batch(3_000 + seq), "samples", label)
        }),
        harm("endless values", 50, 202, "out_of_range", 1, move |seq| {
            with(
                batch(4_000 + seq),
                "samples",
                sample("lcp_ms".to_owned(), json!(1e300)),
            )
        }),
        harm("1,000 releases", 1_000, 202, "", 0, |seq| {
            with(batch(5_000 + seq), "release", json!(format!("9.9.{seq}")))
        }),
    ]
}

/// Sends all of it, and leaves connections hanging meanwhile.
pub async fn attack(url: String, http: reqwest::Client) -> Harmed {
    let mut harmed = Harmed::default();
    let hanging = hang(&url).await;
    let endpoint = format!("{}/v1/batches", url.trim_end_matches('/'));
    // The queue's first number, so that the huge one is a jump.
    let first = batch(1).to_string().into_bytes();
    let _ = http.post(&endpoint).body(first).send().await;
    for harm in harms() {
        let mut numbers = 1..=u64::from(harm.times);
        loop {
            let some: Vec<u64> = numbers.by_ref().take(AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            let mut under_way = tokio::task::JoinSet::new();
            for number in some {
                let mut request = http
                    .post(&endpoint)
                    .header(CONTENT_TYPE, harm.content_type)
                    .body((harm.body)(number));
                if let Some(encoding) = harm.content_encoding {
                    request = request.header(CONTENT_ENCODING, encoding);
                }
                under_way.spawn(answer(request));
            }
            while let Some(answered) = under_way.join_next().await {
                harmed.note(&harm, answered.unwrap_or(None));
            }
        }
    }
    harmed.half_requests = [hanging.len(), closed(hanging).await];
    harmed
}

/// The status, and the code or the first reason.
async fn answer(request: reqwest::RequestBuilder) -> Option<(u16, String, u64)> {
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    let body: Value = response.json().await.ok()?;
    let code = [&body["error"]["code"], &body["reasons"][0]["reason"]]
        .into_iter()
        .find_map(|code| code.as_str())
        .unwrap_or_default();
    Some((
        status,
        code.to_owned(),
        body["rejected"].as_u64().unwrap_or(0),
    ))
}

impl Harmed {
    fn note(&mut self, harm: &Harm, answered: Option<(u16, String, u64)>) {
        const SURPRISES_MAX: usize = 20;
        self.requests += 1;
        if harm.status != 202 {
            *self.refused.entry(harm.status).or_default() += 1;
        }
        if harm.rejected > 0 {
            *self.rejected.entry(harm.code).or_default() += harm.rejected;
        }
        let is_right = answered.as_ref().is_some_and(|(status, code, rejected)| {
            *status == harm.status
                && code == harm.code
                && (*status != 202 || *rejected == harm.rejected)
        });
        if !is_right && self.surprises.len() < SURPRISES_MAX {
            let got = answered.map_or("no answer".to_owned(), |(status, code, _)| {
                format!("{status} {code}")
            });
            self.surprises.push(format!(
                "{} was answered {got} and not {} {}",
                harm.name, harm.status, harm.code
            ));
        }
    }
}

/// Opens connections and sends half a head, or half a body.
async fn hang(url: &str) -> Vec<TcpStream> {
    let address = url
        .trim_end_matches('/')
        .rsplit_once('/')
        .map_or(url, |(_, address)| address);
    let mut hanging = Vec::new();
    for number in 0..HALF_REQUESTS {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            continue;
        };
        let text = if number % 2 == 0 {
            "POST /v1/batches HTTP/1.1\r\nHost: x\r\nContent-Le"
        } else {
            "POST /v1/batches HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"v\":1,"
        };
        if stream.write_all(text.as_bytes()).await.is_ok() {
            hanging.push(stream);
        }
    }
    hanging
}

/// How many of them the server ends, by an answer or without.
async fn closed(hanging: Vec<TcpStream>) -> usize {
    const WAIT: Duration = Duration::from_secs(30);
    let deadline = tokio::time::Instant::now() + WAIT;
    let mut ended = 0;
    for stream in hanging {
        let readable = tokio::time::timeout_at(deadline, stream.readable()).await;
        ended += usize::from(readable.is_ok());
    }
    ended
}
