//! In which format a page is sent, by what the client says it takes.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// The formats of Prometheus' exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0, for whoever does not say otherwise.
    OpenMetrics,
    /// The older text format 0.0.4, for clients that take only that.
    Text,
    /// Length-delimited protobuf, the one with native histograms.
    Protobuf,
}

impl Format {
    /// The best of what an `Accept` header takes. Protobuf only with `has_native`: a Prometheus that
    /// reads native histograms asks for it everywhere, and the text says the rest just as well.
    #[must_use]
    pub fn accepted(accept: Option<&str>, has_native: bool) -> Self {
        let Some(accept) = accept else {
            return Self::OpenMetrics;
        };
        let takes = |media: &str| {
            accept.split(',').any(|range| {
                let mut parts = range.split(';').map(str::trim);
                let is_it = parts
                    .next()
                    .is_some_and(|name| name.eq_ignore_ascii_case(media));
                // A quality of 0 means: not this one.
                is_it && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
            })
        };
        if has_native && takes("application/vnd.google.protobuf") {
            Self::Protobuf
        } else if takes("application/openmetrics-text") {
            Self::OpenMetrics
        } else if takes("text/plain") {
            Self::Text
        } else {
            Self::OpenMetrics
        }
    }

    /// The format's content type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

/// Whether an `Accept-Encoding` header takes gzip.
#[must_use]
pub fn takes_gzip(accept_encoding: Option<&str>) -> bool {
    takes(accept_encoding, "gzip")
}

/// Whether a client accepts a coding (RFC 9110, section 12.5.3), and not with a quality of nothing.
#[must_use]
pub fn takes(accept_encoding: Option<&str>, wanted: &str) -> bool {
    accept_encoding.is_some_and(|header| {
        header.split(',').any(|coding| {
            let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
            let is_refused = quality
                .trim()
                .strip_prefix("q=")
                .is_some_and(|quality| quality.parse::<f32>().is_ok_and(|quality| quality <= 0.0));
            name.trim().eq_ignore_ascii_case(wanted) && !is_refused
        })
    })
}

/// Compresses a page: fast rather than small, pages shrink tenfold either way.
#[must_use]
pub fn gzip(page: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(page.len() / 8), Compression::fast());
    // Writing to memory does not fail.
    drop(encoder.write_all(page));
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_best_that_it_takes() {
        let prometheus_2 = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
            application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, has_native, format) in [
            (None, true, Format::OpenMetrics),
            (Some("*/*"), true, Format::OpenMetrics),
            (
                Some("text/html,application/xml"),
                false,
                Format::OpenMetrics,
            ),
            (Some("text/plain"), false, Format::Text),
            (
                Some("Text/Plain;version=0.0.4, */*;q=0.1"),
                false,
                Format::Text,
            ),
            (
                Some("application/openmetrics-text;q=0, text/plain"),
                false,
                Format::Text,
            ),
            (Some(prometheus_2), false, Format::OpenMetrics),
            (Some(prometheus_2), true, Format::Protobuf),
        ] {
            assert_eq!(Format::accepted(accept, has_native), format, "{accept:?}");
        }
    }

    #[test]
    fn gzip_is_used_where_it_is_taken() {
        assert!(takes_gzip(Some("gzip")));
        assert!(takes_gzip(Some("br, GZIP;q=0.5")));
        for header in [
            None,
            Some(""),
            Some("br"),
            Some("gzip;q=0"),
            Some("identity, gzip;q=0.000"),
        ] {
            assert!(!takes_gzip(header), "{header:?}");
        }
    }
}
