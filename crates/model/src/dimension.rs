//! What rollups are told apart by: identifiers, connection and source.

/// What a release or a store becomes when the durable set of them is full.
pub const OVERFLOW: &str = "__overflow__";

/// What the terminal of a browser application's batches is called, before the application's name. Everybody can send
/// such batches, so nothing that is told of a store's tills counts them.
pub const APP_PREFIX: &str = "app:";
/// What a release becomes that is not written as releases are.
pub const INVALID_RELEASE: &str = "__invalid__";
/// What a release is called that only one terminal has reported, and that has no name of its own yet.
pub const NEW_RELEASE: &str = "__new__";
/// What a release is called when the terminal does not say it.
pub const UNKNOWN_RELEASE: &str = "unknown";
/// What a value becomes that only a later release knows: it may be in what that release left behind. No
/// terminal can send it.
pub const LATER: &str = "__unknown__";
/// The code that stands for [`LATER`] in open windows. No value ever gets it.
pub const LATER_CODE: u8 = u8::MAX;
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

/// Declares an enum by codes and names. `else Later` adds what stands for the values of later releases: such
/// a value is read as that, where one without it would make the whole record or row unreadable.
macro_rules! enumerated {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal $text:literal,)* } $(else $later:ident)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            $(
                /// A value that only a later release knows.
                $later,
            )?
        }

        impl $name {
            /// Every value that this release knows, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code of this value in the journal and in state: never changed, never reused.
            #[must_use]
            pub fn code(self) -> u8 {
                match self {
                    $(Self::$variant => $code,)*
                    $(Self::$later => $crate::dimension::LATER_CODE,)?
                }
            }

            /// The value with this code, if this release knows it.
            #[must_use]
            pub fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            /// The name of this value on the wire and in ClickHouse.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    $(Self::$later => $crate::dimension::LATER,)?
                }
            }

            /// The value with this name, if this release knows it.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }

            $(
                /// The value with this code, whatever release it is of.
                #[must_use]
                pub fn of_code(code: u8) -> Self {
                    Self::from_code(code).unwrap_or(Self::$later)
                }

                /// The value with this name, whatever release it is of.
                #[must_use]
                pub fn of_name(name: &str) -> Self {
                    Self::from_name(name).unwrap_or(Self::$later)
                }
            )?
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
    } else Later
}

enumerated! {
    /// Who measured: people at work, or a probe.
    Source {
        /// Real users.
        Rum = 0 "rum",
        /// A synthetic check; never in the Prometheus series.
        Synthetic = 1 "synthetic",
    } else Later
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
        for source in Source::ALL {
            assert_eq!(Source::from_code(source.code()), Some(*source));
            assert_eq!(Source::from_name(source.name()), Some(*source));
        }
    }

    #[test]
    fn what_only_a_later_release_knows_is_kept_as_that_and_nobody_can_send_it() {
        for code in u8::try_from(Connection::ALL.len()).unwrap()..=u8::MAX {
            assert_eq!(Connection::of_code(code), Connection::Later);
            assert_eq!(Source::of_code(code), Source::Later);
        }
        assert_eq!(Connection::of_name("satellite"), Connection::Later);
        assert_eq!(
            Connection::of_name(Connection::Later.name()),
            Connection::Later
        );
        assert_eq!(
            Connection::of_code(Connection::Later.code()),
            Connection::Later
        );
        assert_eq!(Connection::from_name(LATER), None);
        assert_eq!(
            (Source::from_name(LATER), Source::of_name(LATER)),
            (None, Source::Later)
        );
    }
}
