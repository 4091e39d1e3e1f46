//! A request's body: the room it needs, and reading it.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::ingest::decode::Encoding;
use crate::ingest::error::IngestError;
use crate::ingest::routes::Ingest;

impl Ingest {
    /// Memory that a request of this length takes, at most.
    pub(super) fn bytes_needed(
        &self,
        headers: &HeaderMap,
        encoding: Encoding,
    ) -> Result<usize, IngestError> {
        let length = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok());
        let length = length.and_then(|text| text.parse::<usize>().ok());
        let body_bytes = length.unwrap_or(self.settings.body_bytes_max);
        if body_bytes > self.settings.body_bytes_max {
            return Err(IngestError::TooLarge(
                self.settings.body_bytes_max,
                "as sent",
            ));
        }
        Ok(match encoding {
            Encoding::Identity => body_bytes,
            Encoding::Gzip => body_bytes + (body_bytes * 8).min(self.settings.decoded_bytes_max),
        })
    }

    /// The body, whole and in time.
    pub(super) async fn read(&self, body: Body) -> Result<Bytes, IngestError> {
        let limited = Limited::new(body, self.settings.body_bytes_max);
        match tokio::time::timeout(self.settings.body_timeout, limited.collect()).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(IngestError::TooLarge(
                self.settings.body_bytes_max,
                "as sent",
            )),
            Ok(Err(_broken)) => Err(IngestError::Incomplete),
            Err(_elapsed) => Err(IngestError::TooSlow(self.settings.body_timeout.as_secs())),
        }
    }
}
