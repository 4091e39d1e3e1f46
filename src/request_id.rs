//! Gives each request a name, for its answer and for the log.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Response};

use xxhash_rust::xxh3::xxh3_64;

use crate::chance::Chance;

/// The header that carries it, both ways.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of a client's own id, at most.
const GIVEN_MAX: usize = 64;
/// Digits of an id made here: 64 bits, five in each.
const DIGITS: usize = 13;

/// Names a request. A client may bring its own; else one is made.
#[derive(Debug, Clone)]
pub struct RequestId(Source);

#[derive(Debug, Clone)]
enum Source {
    Made(u64),
    Given(HeaderValue),
}

impl RequestId {
    /// The client's, if it is written as `[A-Za-z0-9_.-]{1,64}`, else a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap, chance: &Chance) -> Self {
        match headers.get(HEADER) {
            Some(given) if is_id(given.as_bytes()) => Self(Source::Given(given.clone())),
            _ => Self::make(chance),
        }
    }

    /// A new one.
    #[must_use]
    pub fn make(chance: &Chance) -> Self {
        Self(Source::Made(chance.request_number()))
    }

    /// A number that stands for the id: one that was made is its own.
    #[must_use]
    pub fn number(&self) -> u64 {
        match &self.0 {
            Source::Made(number) => *number,
            Source::Given(value) => xxh3_64(value.as_bytes()),
        }
    }

    /// The numbers that an id of this text may have: as one that was made, and as a client's.
    pub fn numbers_of(text: &str) -> impl Iterator<Item = u64> + use<> {
        let made = (text.len() == DIGITS).then(|| number(text)).flatten();
        made.into_iter().chain([xxh3_64(text.as_bytes())])
    }

    /// The id as a header's value.
    fn header(&self) -> HeaderValue {
        match &self.0 {
            Source::Given(value) => value.clone(),
            Source::Made(number) => HeaderValue::from_bytes(&digits(*number))
                .unwrap_or_else(|_never| HeaderValue::from_static("?")),
        }
    }
}

fn is_id(text: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    (1..=GIVEN_MAX).contains(&text.len()) && text.iter().all(is_plain)
}

/// The digits of base 32, without letters that are mistaken for others.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Reads what [`digits`] has written.
fn number(text: &str) -> Option<u64> {
    text.bytes().try_fold(0_u64, |number, byte| {
        let digit = ALPHABET.iter().position(|known| *known == byte)?;
        number.checked_mul(32)?.checked_add(digit as u64)
    })
}

/// Writes a number in base 32.
fn digits(mut number: u64) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = usize::try_from(number % 32).map_or(b'?', |at| ALPHABET[at]);
        number /= 32;
    }
    digits
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Made(number) => {
                formatter.write_str(std::str::from_utf8(&digits(*number)).unwrap_or("?"))
            }
            Source::Given(value) => formatter.write_str(value.to_str().unwrap_or("?")),
        }
    }
}

/// An answer to come, with the id put on it.
#[derive(Debug)]
pub struct Answered<F> {
    answer: F,
    id: RequestId,
}

impl<F> Answered<F> {
    /// Puts `id` on `answer`.
    pub fn new(answer: F, id: RequestId) -> Self {
        Self { answer, id }
    }
}

impl<F, B, E> Future for Answered<F>
where
    F: Future<Output = Result<Response<B>, E>> + Unpin,
{
    type Output = Result<Response<B>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(Pin::new(&mut self.answer).poll(context))?;
        response.headers_mut().insert(HEADER, self.id.header());
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &[u8]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(text).unwrap());
        RequestId::of(&headers, &Chance::seeded(1)).to_string()
    }

    #[test]
    fn a_client_s_id_is_taken_only_if_it_is_plain() {
        for good in ["a", "till-3.2026_11", &"x".repeat(64)] {
            assert_eq!(given(good.as_bytes()), good);
        }
        let long = "x".repeat(65);
        for bad in ["", "a b", "a\"b", "a;b", "\u{e9}", "a\tb", &long] {
            let id = given(bad.as_bytes());
            assert_ne!(id, bad);
            assert!(id.len() == DIGITS && is_id(id.as_bytes()), "{id}");
        }
    }

    #[test]
    fn ids_made_here_are_written_alike_and_never_twice() {
        assert_eq!(&digits(0), b"0000000000000");
        assert_eq!(&digits(u64::MAX), b"fzzzzzzzzzzzz");
        let chance = Chance::seeded(1);
        let ids: std::collections::BTreeSet<String> = (0..1_000)
            .map(|_| RequestId::make(&chance).to_string())
            .collect();
        assert_eq!(ids.len(), 1_000);
        let id = RequestId::make(&chance);
        assert_eq!(id.header().to_str().unwrap(), id.to_string());
    }

    #[test]
    fn an_id_is_found_by_its_text() {
        for id in [
            RequestId::make(&Chance::seeded(1)),
            RequestId(Source::Made(0)),
            RequestId(Source::Made(u64::MAX)),
            RequestId(Source::Given(HeaderValue::from_static("mine.1"))),
            RequestId(Source::Given(HeaderValue::from_static("0123456789abc"))),
        ] {
            let mut numbers = RequestId::numbers_of(&id.to_string());
            assert!(numbers.any(|number| number == id.number()), "{id}");
        }
    }
}
