//! Answers: the body that streams, the headers, and which status an exception becomes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::http::response::Builder;
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;

use crate::engine::Engine;
use crate::error::{Exception, code};
use crate::libchdb::Counts;

/// The body of an answer: known, or still being made.
pub(super) enum AnswerBody {
    Whole(Option<Bytes>),
    Streamed(mpsc::Receiver<AnswerPiece>),
}

/// A piece of an answer that streams.
#[derive(Debug)]
pub(super) enum AnswerPiece {
    Data(Bytes),
    /// The answer is whole. Without it the body ends with an error, whatever became of its maker: HTTP closes the
    /// connection then, and no client takes what has come for all of it.
    End,
}

/// An answer that has begun cannot be brought to its end.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(super) struct BrokenOff;

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streamed(pieces) => pieces.poll_recv(context).map(|piece| match piece {
                Some(AnswerPiece::Data(bytes)) => Some(Ok(Frame::data(bytes))),
                Some(AnswerPiece::End) => None,
                None => Some(Err(BrokenOff)),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Streamed(_) => SizeHint::default(),
        }
    }
}

pub(super) type Answer = Response<AnswerBody>;

/// A short text, as for `/ping`.
pub(super) fn text(status: StatusCode, text: &'static str) -> Answer {
    let body = AnswerBody::Whole(Some(Bytes::from_static(text.as_bytes())));
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}

/// The headers that every answer to a statement has.
pub(super) fn builder(engine: &Engine, query_id: &str) -> Builder {
    Response::builder()
        .header("X-ClickHouse-Server-Display-Name", engine.names().program)
        .header("X-ClickHouse-Query-Id", query_id)
        .header("X-ClickHouse-Timezone", engine.time_zone())
        .header("Cache-Control", "no-store")
}

/// Puts a body under the headers.
pub(super) fn finish(builder: Builder, body: AnswerBody) -> Answer {
    builder.body(body).unwrap_or_else(|error| {
        // A header value of the client's own (its query id) can be invalid.
        tracing::warn!(%error, "an answer could not be built");
        text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Code: 1002. DB::Exception: invalid header\n",
        )
    })
}

/// An exception as an answer of its own.
pub(super) fn failed(engine: &Engine, query_id: &str, exception: &Exception) -> Answer {
    let mut builder = builder(engine, query_id)
        .status(status(exception.code))
        .header("Content-Type", "text/plain; charset=UTF-8")
        .header("X-ClickHouse-Exception-Code", exception.code);
    if exception.code == code::SOCKET_TIMEOUT {
        builder = builder.header("Connection", "close");
    }
    let text = exception_text(engine, exception);
    finish(builder, AnswerBody::Whole(Some(text.into())))
}

/// An exception as ClickHouse appends it to an answer that has begun.
pub(super) fn exception_block(engine: &Engine, tag: &str, exception: &Exception) -> Bytes {
    let text = exception_text(engine, exception);
    format!(
        "\r\n__exception__\r\n{tag}\r\n{text}{} {tag}\r\n__exception__\r\n",
        text.len()
    )
    .into()
}

fn exception_text(engine: &Engine, exception: &Exception) -> String {
    format!("{exception} (version {} (embedded))\n", engine.version())
}

/// The value of `X-ClickHouse-Summary`.
pub(super) fn summary(counts: &Counts, elapsed_ns: u128) -> String {
    format!(
        "{{\"read_rows\":\"{}\",\"read_bytes\":\"{}\",\"written_rows\":\"{}\",\
         \"written_bytes\":\"{}\",\"total_rows_to_read\":\"0\",\"result_rows\":\"{}\",\
         \"result_bytes\":\"{}\",\"elapsed_ns\":\"{elapsed_ns}\"}}",
        counts.read_rows,
        counts.read_bytes,
        counts.written_rows,
        counts.written_bytes,
        counts.result_rows,
        counts.result_bytes,
    )
}

/// The media type of a format, as ClickHouse gives it.
pub(super) fn content_type(format: &str) -> &'static str {
    match format {
        "JSON"
        | "JSONCompact"
        | "JSONStrings"
        | "JSONCompactStrings"
        | "JSONColumns"
        | "JSONCompactColumns"
        | "JSONColumnsWithMetadata"
        | "JSONObjectEachRow" => "application/json; charset=UTF-8",
        "JSONEachRow" | "JSONLines" | "NDJSON" | "JSONCompactEachRow" | "JSONStringsEachRow" => {
            "application/x-ndjson; charset=UTF-8"
        }
        "CSV" | "CSVWithNames" | "CSVWithNamesAndTypes" => "text/csv; charset=UTF-8; header=absent",
        "TabSeparated"
        | "TSV"
        | "TabSeparatedWithNames"
        | "TSVWithNames"
        | "TSVRaw"
        | "TabSeparatedRaw"
        | "TSVWithNamesAndTypes"
        | "TabSeparatedWithNamesAndTypes" => "text/tab-separated-values; charset=UTF-8",
        "XML" => "application/xml; charset=UTF-8",
        "Native"
        | "RowBinary"
        | "RowBinaryWithNames"
        | "RowBinaryWithNamesAndTypes"
        | "Parquet"
        | "Arrow"
        | "ArrowStream"
        | "ORC"
        | "Avro"
        | "MsgPack" => "application/octet-stream",
        _ => "text/plain; charset=UTF-8",
    }
}

/// ClickHouse's map from error codes to HTTP.
fn status(code: u32) -> StatusCode {
    match code {
        // REQUIRED_PASSWORD.
        194 => StatusCode::UNAUTHORIZED,
        // UNKNOWN_USER, WRONG_PASSWORD, SET_NON_GRANTED_ROLE, AUTHENTICATION_FAILED.
        192 | 193 | 512 | code::AUTHENTICATION_FAILED => StatusCode::FORBIDDEN,
        // Arguments, parsing, types, syntax.
        6 | 8 | 15 | 25 | 26 | 27 | 36 | 38 | 41 | 43 | 44 | 53 | 62 | 72 | 117 | 376 | 427 => {
            StatusCode::BAD_REQUEST
        }
        // Unknown column, function, identifier, type, engine, table, aggregate function, format,
        // kind of statement, database, setting.
        16 | 46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 115 => StatusCode::NOT_FOUND,
        // TIMEOUT_EXCEEDED, SOCKET_TIMEOUT.
        159 | code::SOCKET_TIMEOUT => StatusCode::REQUEST_TIMEOUT,
        code::TOO_MANY_SIMULTANEOUS_QUERIES => StatusCode::SERVICE_UNAVAILABLE,
        code::QUERY_IS_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
        code::NOT_IMPLEMENTED => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_clickhouse() {
        for (code, expected) in [(60, 404), (62, 400), (516, 403), (241, 500), (48, 501)] {
            assert_eq!(status(code).as_u16(), expected, "code {code}");
        }
    }
}
