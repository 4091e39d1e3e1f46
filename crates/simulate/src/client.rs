//! One request over HTTP, and its answer.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::StatusCode;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER,
};
use serde::Deserialize;

use crate::Options;
use crate::terminal::Outgoing;
use crate::tokens::{Tokens, TokensError};

/// The longest answer that is read: one reason per sample of the largest request, and room.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// What came back for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Acknowledged: everything in it is safe or was rejected for good.
    Acknowledged(Acknowledgement),
    /// To be sent again, not before the time given.
    Deferred {
        /// 429 or 503.
        status: u16,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// Refused for good.
    Refused {
        /// The status.
        status: u16,
        /// The stable code in the body.
        code: String,
    },
    /// No usable answer: to be sent again.
    Failed(Failure),
}

/// Why there is no usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens, or the network is gone.
    Connect,
    /// The answer took too long.
    Timeout,
    /// The connection broke half-way.
    Broken,
    /// Another status, or a body that is no answer.
    Answer,
    /// The terminal hung up on purpose.
    HungUp,
}

/// What became of a request's samples.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Acknowledgement {
    /// Counted now.
    pub accepted: u64,
    /// Counted before.
    pub duplicate: u64,
    /// Refused for good.
    pub rejected: u64,
    /// Why samples were rejected; not always all of them.
    #[serde(default)]
    pub reasons: Vec<RejectedSample>,
}

/// One sample, or one whole batch, that was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RejectedSample {
    /// Why the sample or the batch was rejected.
    pub reason: String,
}

#[derive(Debug, Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Debug, Deserialize)]
struct ErrorDetail {
    code: String,
}

/// Posts batches.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: reqwest::Url,
    is_gzip: bool,
    tokens: Option<Arc<Tokens>>,
}

impl Client {
    /// A client that keeps its connections open.
    ///
    /// # Errors
    /// When the URL is none, or when no client can be made.
    pub fn new(options: &Options) -> Result<Self, ClientError> {
        let base = format!("{}/v1/batches", options.url().trim_end_matches('/'));
        let url = reqwest::Url::parse(&base).map_err(|source| ClientError::Url {
            url: options.url().to_owned(),
            reason: source.to_string(),
        })?;
        let http = http(options)?;
        let tokens = options.token_key.as_deref().map(Tokens::open);
        let tokens = tokens.transpose()?.map(Arc::new);
        Ok(Self {
            http,
            url,
            is_gzip: options.gzip,
            tokens,
        })
    }

    /// The token that a terminal shows, if terminals show any.
    pub fn token_of(&self, store: &str, terminal: &str) -> Option<Arc<str>> {
        self.tokens.as_ref()?.of(store, terminal)
    }

    /// Posts a body and waits for the answer, or hangs up after a while and learns nothing.
    pub async fn post(
        self,
        outgoing: Outgoing,
        store: String,
        token: Option<Arc<str>>,
    ) -> (Answer, Duration) {
        let started = Instant::now();
        let hang_up_after = outgoing.hang_up_after;
        let request = self.send(outgoing, store, token);
        let answer = match hang_up_after {
            None => request.await,
            Some(after) => {
                // Whatever came back is lost on the way.
                let _ = tokio::time::timeout(after, request).await;
                Answer::Failed(Failure::HungUp)
            }
        };
        (answer, started.elapsed())
    }

    async fn send(self, outgoing: Outgoing, store: String, token: Option<Arc<str>>) -> Answer {
        let Outgoing {
            body, is_backlog, ..
        } = outgoing;
        // As the SDK does: a balancer keeps a store on one collector, and what was kept gives way to what is live.
        let mut url = self.url;
        url.query_pairs_mut().append_pair("store", &store);
        if is_backlog {
            url.query_pairs_mut().append_pair("class", "backlog");
        }
        let mut request = self.http.post(url).header(CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request = match self.is_gzip.then(|| gzip(&body)) {
            Some(Ok(compressed)) => request.header(CONTENT_ENCODING, "gzip").body(compressed),
            Some(Err(_)) | None => request.body(body),
        };
        match request.send().await {
            Ok(response) => read_answer(response).await,
            Err(error) => Answer::Failed(failure(&error)),
        }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not one.
    #[error("{url:?} is not an http address: {reason}")]
    Url {
        /// The URL as it was given.
        url: String,
        /// What is wrong with the URL.
        reason: String,
    },
    /// The tokens could not be made.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// A file could not be read.
    #[error("could not read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// A file holds no key.
    #[error("{} holds no key", .0.display())]
    NoKey(PathBuf),
    /// The client could not be made.
    #[error("could not set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// An HTTP client for this run.
///
/// # Errors
/// When none can be made.
pub fn http(options: &Options) -> Result<reqwest::Client, ClientError> {
    builder(options)?.build().map_err(ClientError::Client)
}

/// A client for the admin listener, which shows it the key.
///
/// # Errors
/// When the key cannot be read, or no client can be made.
pub fn admin_http(options: &Options) -> Result<reqwest::Client, ClientError> {
    let mut client = builder(options)?;
    if let Some(path) = &options.admin_key_file {
        let key = String::from_utf8(read(path)?).unwrap_or_default();
        let value = HeaderValue::from_str(&format!("Bearer {}", key.trim()));
        let mut value = value.map_err(|_no_key| ClientError::NoKey(path.clone()))?;
        value.set_sensitive(true);
        client = client.default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
    }
    client.build().map_err(ClientError::Client)
}

fn builder(options: &Options) -> Result<reqwest::ClientBuilder, ClientError> {
    // In a program that has installed one this changes nothing.
    let _is_second = rustls::crypto::ring::default_provider().install_default();
    let mut client = reqwest::Client::builder()
        .user_agent(concat!("tillwatch-simulate/", env!("CARGO_PKG_VERSION")))
        .pool_max_idle_per_host(options.connections as usize)
        .tcp_nodelay(true)
        .no_proxy()
        .timeout(options.timeout);
    if let Some(path) = &options.ca_file {
        let roots = reqwest::Certificate::from_pem_bundle(&read(path)?);
        client = client.tls_certs_merge(roots.map_err(ClientError::Client)?);
    }
    Ok(client)
}

fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    std::fs::read(path).map_err(|source| ClientError::Read(path.to_owned(), source))
}

fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

fn failure(error: &reqwest::Error) -> Failure {
    if error.is_connect() {
        Failure::Connect
    } else if error.is_timeout() {
        Failure::Timeout
    } else {
        Failure::Broken
    }
}

async fn read_answer(mut response: reqwest::Response) -> Answer {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_BYTES_MAX => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => return Answer::Failed(Failure::Answer),
            Ok(None) => break,
            Err(error) => return Answer::Failed(failure(&error)),
        }
    }
    understand(status, retry_after, &body)
}

/// What an answer means for the terminal.
fn understand(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Answer {
    match status {
        StatusCode::ACCEPTED | StatusCode::OK => serde_json::from_slice(body)
            .map_or(Answer::Failed(Failure::Answer), Answer::Acknowledged),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Answer::Deferred {
            status: status.as_u16(),
            retry_after,
        },
        // "Too early" and "request time-out" are about the connection, not about the batch.
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => Answer::Failed(Failure::Answer),
        _ if status.is_client_error() => Answer::Refused {
            status: status.as_u16(),
            code: serde_json::from_slice(body).map_or_else(
                |_| format!("http_{}", status.as_u16()),
                |body: ErrorBody| body.error.code,
            ),
        },
        _ => Answer::Failed(Failure::Answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        let understand = |status, body: &str| {
            understand(
                StatusCode::from_u16(status).unwrap(),
                Some(Duration::from_secs(7)),
                body.as_bytes(),
            )
        };
        let accepted = r#"{"accepted": 39, "duplicate": 0, "rejected": 1, "reasons": [{"batch": 0, "sample": 3, "reason": "unknown_metric"}]}"#;
        let Answer::Acknowledged(acknowledgement) = understand(202, accepted) else {
            panic!("not acknowledged");
        };
        assert_eq!(
            (acknowledgement.accepted, acknowledgement.rejected),
            (39, 1)
        );
        assert_eq!(acknowledgement.reasons[0].reason, "unknown_metric");
        for status in [429, 503] {
            let retry_after = Some(Duration::from_secs(7));
            assert_eq!(
                understand(status, ""),
                Answer::Deferred {
                    status,
                    retry_after
                }
            );
        }
        let refused = r#"{"error": {"code": "malformed", "message": "no"}}"#;
        assert_eq!(
            understand(400, refused),
            Answer::Refused {
                status: 400,
                code: "malformed".into()
            }
        );
        assert_eq!(
            understand(404, "gone"),
            Answer::Refused {
                status: 404,
                code: "http_404".into()
            }
        );
        // An acknowledgement that cannot be read acknowledges nothing.
        for (status, body) in [(202, "{"), (202, ""), (500, accepted), (302, ""), (408, "")] {
            assert_eq!(
                understand(status, body),
                Answer::Failed(Failure::Answer),
                "{status}"
            );
        }
    }
}
