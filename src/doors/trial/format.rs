//! Which format a payload is in.

use crate::doors::foreign::{json, path_of};
use crate::doors::otlp;
use crate::doors::terminal_v1;

/// The format of a payload, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// tillwatch's own.
    Native(terminal_v1::Format),
    /// The legacy report.
    Legacy,
    /// Grafana Faro's Web SDK.
    Faro,
    /// OpenTelemetry's exporters.
    Otlp(otlp::Encoding),
}

impl Format {
    /// Guesses the format by what a payload begins with and by its keys.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        // A map of MessagePack.
        if let Some(0x80..=0x8f | 0xde | 0xdf) = body.first() {
            return Self::Native(terminal_v1::Format::MessagePack);
        }
        let text = json::text_of(body).ok().map(str::trim_ascii);
        let Some(text) = text.filter(|text| text.starts_with(['{', '[']) || text.is_empty()) else {
            return Self::Otlp(otlp::Encoding::Protobuf);
        };
        match path_of(text) {
            Some("/collect") => Self::Faro,
            Some("/v1/metrics") => Self::Otlp(otlp::Encoding::Json),
            Some("/pdc_pos_offline/metrics") => Self::Legacy,
            Some(_) => Self::Native(terminal_v1::Format::Json),
            // The first field of a request in protobuf begins with the byte of a line feed, and what follows is its length.
            None if body.starts_with(b"\n") && !body.ends_with(b"}") => {
                Self::Otlp(otlp::Encoding::Protobuf)
            }
            None => Self::Native(terminal_v1::Format::Json),
        }
    }

    /// The name, and the path to which such payloads are posted.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Native(terminal_v1::Format::Json) => {
                "tillwatch's own format in JSON, posted to /v1/batches"
            }
            Self::Native(terminal_v1::Format::MessagePack) => {
                "tillwatch's own format in MessagePack, posted to /v1/batches"
            }
            Self::Legacy => "the legacy report, posted to /pdc_pos_offline/metrics",
            Self::Faro => "Grafana Faro's Web SDK, posted to /collect",
            Self::Otlp(otlp::Encoding::Json) => "OTLP metrics in JSON, posted to /v1/metrics",
            Self::Otlp(otlp::Encoding::Protobuf) => {
                "OTLP metrics in protobuf, posted to /v1/metrics"
            }
        }
    }
}
