//! Headers that every answer bears, so that no browser does with it what it was not meant for.
//!
//! Source: the OWASP HTTP Headers Cheat Sheet; HSTS is RFC 6797.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// Which of them a listener's answers bear.
#[derive(Debug, Clone, Copy)]
pub struct Surface {
    /// Whether the listener speaks TLS: browsers then ask it in no other way for a year.
    pub has_tls: bool,
    /// Whether its answers are for nobody's cache.
    pub is_private: bool,
}

impl Surface {
    /// Puts the headers on an answer. How long it may be kept, and what it may load, stay as its handler has set them.
    pub fn put_on(self, headers: &mut HeaderMap) {
        headers.reserve(6);
        if self.is_private {
            // A page may say how long it is good.
            let kept = headers.entry(CACHE_CONTROL);
            kept.or_insert(HeaderValue::from_static("no-store"));
        }
        let policy = headers.entry(CONTENT_SECURITY_POLICY);
        policy.or_insert(HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'",
        ));
        let mut put = |name: HeaderName, value: &'static str| {
            headers.insert(name, HeaderValue::from_static(value));
        };
        put(X_CONTENT_TYPE_OPTIONS, "nosniff");
        put(REFERRER_POLICY, "no-referrer");
        put(
            PERMISSIONS_POLICY,
            "camera=(), geolocation=(), microphone=()",
        );
        if self.has_tls {
            put(STRICT_TRANSPORT_SECURITY, "max-age=31536000");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_bear_what_their_listener_is() {
        let of = |surface: Surface| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=5"));
            surface.put_on(&mut headers);
            headers
        };
        let plain = of(Surface {
            has_tls: false,
            is_private: false,
        });
        assert_eq!(plain.get(X_CONTENT_TYPE_OPTIONS).unwrap(), "nosniff");
        assert!(!plain.contains_key(STRICT_TRANSPORT_SECURITY));
        let secured = of(Surface {
            has_tls: true,
            is_private: true,
        });
        assert!(secured.contains_key(STRICT_TRANSPORT_SECURITY));
        assert_eq!(secured.get(CACHE_CONTROL).unwrap(), "max-age=5");
    }
}
