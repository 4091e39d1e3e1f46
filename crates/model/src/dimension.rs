//! What rollups are told apart by: identifiers, connection and source.

/// What a release or a store becomes when the durable set of them is full.
pub const OVERFLOW: &str = "__overflow__";
/// What a release becomes that is not written as releases are.
pub const INVALID_RELEASE: &str = "__invalid__";
/// What a release is called that only one terminal has reported, and that has no name of its own yet.
pub const NEW_RELEASE: &str = "__new__";
/// What a release is called when the terminal does not say it.
pub const UNKNOWN_RELEASE: &str = "unknown";
/// The longest identifier, in bytes.
pub const IDENTIFIER_BYTES_MAX: usize = 64;

/// Whether `text` matches `[A-Za-z0-9_.:-]{1,64}`.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    is_made_of(text, |byte| matches!(byte, b'_' | b'.' | b':' | b'-'))
}

/// Whether `text` matches `[A-Za-z0-9_.:+@-]{1,64}`, as `pos@2.4.1` does, and is no e-mail address.
#[must_use]
pub fn is_release(text: &str) -> bool {
    is_made_of(text, |byte| {
        matches!(byte, b'_' | b'.' | b':' | b'+' | b'@' | b'-')
    }) && !is_address(text)
}

/// Whether behind an `@` stands a domain: it ends in a word, and does not begin as a version does.
fn is_address(text: &str) -> bool {
    let Some((_, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let is_word =
        |part: &str| part.len() > 1 && part.bytes().all(|byte| byte.is_ascii_alphabetic());
    let has_top = domain.rsplit_once('.').is_some_and(|(_, top)| is_word(top));
    let is_number = |part: &str| {
        part.bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_digit())
    };
    let version = domain.strip_prefix('v').unwrap_or(domain);
    has_top && !version.split('.').take(2).all(is_number)
}

fn is_made_of(text: &str, also: impl Fn(u8) -> bool) -> bool {
    (1..=IDENTIFIER_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || also(byte))
}

macro_rules! enumerated {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code of this value in the journal and in state: never changed, never reused.
            #[must_use]
            pub fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)* }
            }

            /// The value with this code.
            #[must_use]
            pub fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            /// The name of this value on the wire and in ClickHouse.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The value with this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}
pub(crate) use enumerated;

enumerated! {
    /// How a terminal was connected when it measured.
    Connection {
        /// The terminal did not say, or said something else.
        Unknown = 0 "unknown",
        /// Connected.
        Online = 1 "online",
        /// The terminal is not connected.
        Offline = 2 "offline",
        /// Connected, badly.
        Slow = 3 "slow",
        /// Connected, and every byte is paid for.
        Metered = 4 "metered",
        /// Connected again, still sending what was queued.
        OfflineSync = 5 "offline_sync",
    }
}

enumerated! {
    /// Who measured: people at work, or a probe.
    Source {
        /// Real users.
        Rum = 0 "rum",
        /// A synthetic check; never in the Prometheus series.
        Synthetic = 1 "synthetic",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_short_and_plain() {
        assert!(is_identifier("store-017") && is_identifier("A.b_c:9"));
        assert!(!is_identifier("") && !is_identifier("a b") && !is_identifier("läden"));
        assert!(is_identifier(&"x".repeat(64)) && !is_identifier(&"x".repeat(65)));
        assert!(is_release("2.4.1+build.7") && !is_identifier("2.4.1+build.7"));
        for release in [
            "pos@2.4.1",
            "pos@v2.4.0-rc.beta",
            "@",
            "a@main",
            "pos@1.0.x",
            "a@b@3.1.dev",
        ] {
            assert!(is_release(release) && !is_identifier(release), "{release}");
        }
        for address in [
            "anna@example.com",
            "anna@1und1.de",
            "a@163.com",
            "x@y@shop.co.uk",
        ] {
            assert!(!is_release(address), "{address}");
        }
    }

    #[test]
    fn codes_and_names_lead_back() {
        for connection in Connection::ALL {
            assert_eq!(Connection::from_code(connection.code()), Some(*connection));
            assert_eq!(Connection::from_name(connection.name()), Some(*connection));
        }
    }
}
