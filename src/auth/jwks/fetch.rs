//! The bytes of a set, from a URL.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, StatusCode, Url};
use tillwatch_token::JWKS_BYTES_MAX;

use crate::auth::jwks::read_at_most;

/// What a fetch may last: looking up the name, connecting, redirects and the whole body.
pub(super) const FETCH_MAX: Duration = Duration::from_secs(10);
/// How often the server may send on to another path of its own.
const REDIRECTS_MAX: usize = 3;
/// The longest file of certificates that is read. Unit: bytes.
const ROOTS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a URL does not give a set. Neither its query nor what came is told.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL is one that is not asked.
    #[error("its address {0}")]
    Url(String),
    /// The certificates of further authorities cannot be read.
    #[error("the certificates in {path} cannot be read")]
    Roots {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds no certificates.
    #[error("{path} holds no certificates (PEM)")]
    NoRoots {
        /// The file.
        path: PathBuf,
    },
    /// The request fails, or lasts over 10 s.
    #[error("the request fails")]
    Request(#[source] reqwest::Error),
    /// The server answers with another status.
    #[error("the answer has the status {0}, not 200")]
    Status(u16),
    /// The answer is too long.
    #[error("the answer is over 256 KiB")]
    TooLong,
}

/// Why a redirect is not followed.
#[derive(Debug, thiserror::Error)]
enum RedirectError {
    #[error("the server redirects over {REDIRECTS_MAX} times")]
    TooMany,
    #[error(
        "the server redirects to another scheme, host or port; write the address that it leads to"
    )]
    Elsewhere,
}

/// Says what is wrong with the URL of a key set, without showing it.
///
/// # Errors
/// When it is not one that is asked: `https`, or `http` on this machine, and no user, password or fragment.
pub fn check_url(text: &str) -> Result<(), String> {
    parse(text).map(drop)
}

fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("is not a URL ({error}); write https://host/path"))?;
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return Err("names no host; write https://host/path".to_owned());
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or a password: a key set is public".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must not hold a fragment (#)".to_owned());
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(host) => {}
        "http" => {
            return Err(
                "must begin with https://: whoever is on the way could put in keys of their own"
                    .to_owned(),
            );
        }
        scheme => return Err(format!("must begin with https://, not {scheme}:")),
    }
    Ok(url)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// A URL as errors may show it.
pub(super) fn shown(text: &str) -> String {
    let Ok(url) = parse(text) else {
        return "the URL of the key set".to_owned();
    };
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// Fetches a set.
pub(super) async fn fetch(
    text: &str,
    extra_roots: Option<&Path>,
    within: Duration,
) -> Result<Vec<u8>, FetchError> {
    let url = parse(text).map_err(FetchError::Url)?;
    let client = client(&url, extra_roots, within)?;
    let accept = HeaderValue::from_static("application/jwk-set+json, application/json");
    let request = client.get(url).header(ACCEPT, accept);
    let mut response = request.send().await.map_err(failed)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(failed)? {
        if bytes.len() + piece.len() > JWKS_BYTES_MAX {
            return Err(FetchError::TooLong);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn failed(error: reqwest::Error) -> FetchError {
    FetchError::Request(error.without_url())
}

/// A client for one fetch: certificates that were replaced meanwhile count, and no connection stays open.
fn client(url: &Url, extra_roots: Option<&Path>, within: Duration) -> Result<Client, FetchError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Whoever was first has installed one.
        let _installed = rustls::crypto::ring::default_provider().install_default();
    }
    let client = Client::builder()
        .no_proxy()
        .referer(false)
        .redirect(Policy::custom(follow))
        .timeout(within);
    let client = if url.scheme() == "https" {
        let roots = extra_roots.map(read_roots).transpose()?;
        let client = client.https_only(true);
        client.tls_certs_merge(roots.unwrap_or_default())
    } else {
        // No certificate is asked for, and a machine need not have any.
        client.tls_certs_only([])
    };
    client.build().map_err(failed)
}

fn read_roots(path: &Path) -> Result<Vec<Certificate>, FetchError> {
    let text = read_at_most(path, ROOTS_BYTES_MAX).map_err(|source| FetchError::Roots {
        path: path.to_owned(),
        source,
    })?;
    let roots = Certificate::from_pem_bundle(&text).ok();
    let roots = roots.filter(|roots| !roots.is_empty());
    roots.ok_or_else(|| FetchError::NoRoots {
        path: path.to_owned(),
    })
}

/// A server may send on to another path, but nowhere else: it must not make this program ask inside its network.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error(RedirectError::TooMany);
    }
    let to = attempt.url();
    let is_plain = to.username().is_empty() && to.password().is_none();
    let first = attempt.previous().first().map(Url::origin);
    if !is_plain || first != Some(to.origin()) {
        return attempt.error(RedirectError::Elsewhere);
    }
    attempt.follow()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine_are_asked_and_nothing_of_the_url_is_shown_that_may_be_secret() {
        for good in [
            "https://pos.example.com/.well-known/jwks.json?tenant=7",
            "https://10.0.0.7:8443/keys",
            "http://localhost:8080/keys",
            "http://127.0.0.2/keys",
            "http://[::1]:80/keys",
        ] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("pos.example.com/hidden", "is not a URL"),
            ("https://", "is not a URL"),
            ("http://pos.example.com/hidden", "https://"),
            ("http://localhost.example.com/hidden", "https://"),
            ("http://10.0.0.7/hidden", "https://"),
            ("file:///hidden", "names no host"),
            ("ftp://pos.example.com/hidden", "not ftp:"),
            ("https://me:hidden@pos.example.com/", "password"),
            ("https://hidden@pos.example.com/", "user"),
            ("https://pos.example.com/#hidden", "fragment"),
        ] {
            let said = check_url(bad).unwrap_err();
            assert!(said.contains(why) && !said.contains("hidden"), "{said}");
        }
        let shown = shown("https://pos.example.com:443/keys?code=hidden");
        assert_eq!(shown, "https://pos.example.com/keys");
    }
}
