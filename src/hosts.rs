//! Finds out for whom a request was meant, by `Host` and `Origin`, against DNS rebinding.
//!
//! A web page can make the browser of a person who reaches a listener send requests to it, and read the
//! answers, once the name of the page's site leads to the listener's address. The browser then sends that
//! name as `Host`, and no page can change it. A listener that authenticates nobody therefore answers only to
//! names that cannot be a stranger's: addresses, `localhost`, and configured names.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, Version};

use crate::listed::listed;

listed! {
    /// Why a request was not meant for this listener.
    pub enum Stranger {
        /// `Host` is missing, there twice, or not written as one.
        InvalidHost = "invalid_host",
        /// `Host` is a name that nobody listed.
        UnknownHost = "host_not_allowed",
        /// A page of another origin has sent the request.
        ForeignOrigin = "foreign_origin",
    }
}

/// By which schemes a listener's pages are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Schemes {
    /// HTTP.
    pub http: bool,
    /// HTTPS, by the listener itself or by a proxy before it.
    pub https: bool,
}

impl Schemes {
    /// A listener without TLS, and without a proxy before it.
    pub const HTTP: Self = Self {
        http: true,
        https: false,
    };
}

/// A host and a port, as `Host` has them.
#[derive(Debug, PartialEq, Eq)]
struct HostPort {
    /// Lower case, without the last dot; an IPv6 address in brackets.
    host: String,
    is_address: bool,
    port: Option<u16>,
}

impl HostPort {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once(']')?;
                let address: Ipv6Addr = address.parse().ok()?;
                return Some(Self {
                    host: format!("[{address}]"),
                    is_address: true,
                    port: port_of(rest)?,
                });
            }
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if !is_name(&host) {
            return None;
        }
        Some(Self {
            is_address: host.parse::<Ipv4Addr>().is_ok(),
            host,
            port: port_of(port)?,
        })
    }
}

/// What follows a host: nothing, or a colon and perhaps a port.
fn port_of(text: &str) -> Option<Option<u16>> {
    match text.strip_prefix(':') {
        None => text.is_empty().then_some(None),
        Some("") => Some(None),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().map(Some)
        }
        Some(_) => None,
    }
}

/// Whether a text is written as the name of a host, or an IPv4 address: letters, digits, `-`, `_`,
/// in parts with dots between them.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.len() <= 253
        && text
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(is_good))
}

/// The one value of a header; `Err` when there are several, or it is no text.
fn only(headers: &HeaderMap, name: axum::http::HeaderName) -> Result<Option<&str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(drop),
        _ => Err(()),
    }
}

/// Looks whom a request was meant for: an address, `localhost`, or one of `names` (lower case). The
/// port does not matter.
///
/// Only a request of HTTP/1.0 may do without `Host`: no browser sends one, so no page does.
///
/// # Errors
/// Why it was not meant for this listener.
pub fn check(
    version: Version,
    target: &Uri,
    headers: &HeaderMap,
    names: &[String],
    schemes: Schemes,
) -> Result<(), Stranger> {
    let host = only(headers, HOST).map_err(|()| Stranger::InvalidHost)?;
    // A target such as `GET http://name/path` wins over `Host`, and both must be right.
    let target = target.authority().map(Authority::as_str);
    let mut own = None;
    for text in [host, target].into_iter().flatten() {
        let place = HostPort::parse(text).ok_or(Stranger::InvalidHost)?;
        if !place.is_address && place.host != "localhost" && !names.contains(&place.host) {
            return Err(Stranger::UnknownHost);
        }
        own = Some(place);
    }
    if own.is_none() && version != Version::HTTP_10 {
        return Err(Stranger::InvalidHost);
    }
    let origin = only(headers, ORIGIN).map_err(|()| Stranger::ForeignOrigin)?;
    match origin {
        Some(origin) if !is_own(origin, own.as_ref(), schemes) => Err(Stranger::ForeignOrigin),
        _ => Ok(()),
    }
}

/// Whether a page of this origin came from here. `null`, which a page in a frame can make itself, did not.
fn is_own(origin: &str, own: Option<&HostPort>, schemes: Schemes) -> bool {
    let known = [
        ("http://", 80, schemes.http),
        ("https://", 443, schemes.https),
    ];
    let page = known.into_iter().find_map(|(start, port, is_spoken)| {
        let (scheme, place) = origin.split_at_checked(start.len())?;
        let is_it = is_spoken && scheme.eq_ignore_ascii_case(start);
        Some((is_it.then(|| HostPort::parse(place))??, port))
    });
    let (Some((page, port)), Some(own)) = (page, own) else {
        return false;
    };
    page.host == own.host && page.port.unwrap_or(port) == own.port.unwrap_or(port)
}

/// `Host` as it may stand in a log: only if it is written as one.
#[must_use]
pub fn shown(target: &Uri, headers: &HeaderMap) -> Option<String> {
    let target = target.authority().map(Authority::as_str);
    let host = only(headers, HOST).ok().flatten();
    target
        .or(host)
        .and_then(HostPort::parse)
        .map(|place| place.host)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn of(version: Version, target: &str, headers: &[(&str, &str)]) -> Result<(), Stranger> {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let names = ["tillwatch".to_owned()];
        check(version, &parts.uri, &parts.headers, &names, Schemes::HTTP)
    }

    fn host(text: &str) -> Result<(), Stranger> {
        of(Version::HTTP_11, "/", &[("host", text)])
    }

    #[test]
    fn addresses_localhost_and_listed_names_are_meant_for_us_in_any_spelling() {
        for good in [
            "127.0.0.1",
            "127.0.0.1:9090",
            "10.1.2.3:1",
            "[::1]",
            "[::1]:9090",
            "[::ffff:127.0.0.1]:9090",
            "localhost",
            "LocalHost:9090",
            "localhost.:9090",
            "tillwatch",
            "TILLWATCH.:9090",
            "localhost:",
        ] {
            assert_eq!(host(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn other_names_and_what_is_no_host_are_not() {
        for bad in [
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "tillwatch.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io",
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
        ] {
            assert_eq!(host(bad), Err(Stranger::UnknownHost), "{bad}");
        }
        for bad in [
            "",
            ".",
            ":9090",
            "localhost:port",
            "localhost:99999",
            "localhost:+80",
            "evil.example@localhost",
            "localhost/evil.example",
            "localhost, evil.example",
            "localhost evil.example",
            "localhost..",
            "::1",
            "[::1",
            "[evil.example]",
            "[::1]evil.example",
            "[fe80::1%25eth0]",
        ] {
            assert_eq!(host(bad), Err(Stranger::InvalidHost), "{bad}");
        }
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(
            of(Version::HTTP_11, "/", &twice),
            Err(Stranger::InvalidHost)
        );
    }

    #[test]
    fn a_request_without_a_host_can_only_be_of_http_1_0() {
        assert_eq!(of(Version::HTTP_10, "/", &[]), Ok(()));
        assert_eq!(of(Version::HTTP_11, "/", &[]), Err(Stranger::InvalidHost));
        let foreign = [("origin", "http://localhost")];
        let without = of(Version::HTTP_10, "/", &foreign);
        assert_eq!(without, Err(Stranger::ForeignOrigin));
    }

    #[test]
    fn a_target_with_a_host_is_looked_at_beside_the_header() {
        let of = |target: &str, text: &str| of(Version::HTTP_11, target, &[("host", text)]);
        assert_eq!(of("http://localhost:9090/x", "127.0.0.1"), Ok(()));
        let unknown = Err(Stranger::UnknownHost);
        assert_eq!(of("http://evil.example/x", "localhost"), unknown);
        assert_eq!(of("http://localhost/x", "evil.example"), unknown);
        assert_eq!(
            of("http://a@localhost/x", "localhost"),
            Err(Stranger::InvalidHost)
        );
    }

    #[test]
    fn a_page_is_of_here_if_scheme_host_and_port_are() {
        let of = |text: &str, origin: &str| {
            of(Version::HTTP_11, "/", &[("host", text), ("origin", origin)])
        };
        for (text, origin) in [
            ("localhost:9090", "http://localhost:9090"),
            ("LOCALHOST.:9090", "HTTP://localhost:9090"),
            ("127.0.0.1", "http://127.0.0.1:80"),
            ("[::1]:9090", "http://[0:0::1]:9090"),
        ] {
            assert_eq!(of(text, origin), Ok(()), "{text} {origin}");
        }
        for origin in [
            "null",
            "",
            "http://evil.example:9090",
            "https://localhost:9090",
            "https://localhost",
            "ftp://localhost:9090",
            "http://localhost",
            "http://localhost:9091",
            "http://127.0.0.1:9090",
            "http://localhost:9090/",
            "http://localhost:9090, http://localhost:9090",
            "httpü//localhost:9090",
        ] {
            let foreign = of("localhost:9090", origin);
            assert_eq!(foreign, Err(Stranger::ForeignOrigin), "{origin}");
        }
    }

    #[test]
    fn a_listener_with_tls_has_pages_of_https_alone() {
        let of_listener = |origin, schemes| {
            let own = HostPort::parse("localhost:9090");
            is_own(origin, own.as_ref(), schemes)
        };
        let https = Schemes {
            http: false,
            https: true,
        };
        assert!(
            of_listener("https://localhost:9090", https)
                && !of_listener("http://localhost:9090", https)
        );
        let either = Schemes {
            http: true,
            https: true,
        };
        assert!(
            of_listener("https://localhost:9090", either)
                && of_listener("http://localhost:9090", either)
        );
    }
}
