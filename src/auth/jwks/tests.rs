//! Servers that answer well, late, too much or nonsense, and what becomes of the keys.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tillwatch_token::{KeySet, SigningKey};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::fetch::fetch;
use super::*;

const GOOD: &str = include_str!("../../../crates/token/fixtures/jwks.json");
const WITH_FAULTS: &str = include_str!("../../../crates/token/fixtures/jwks_with_faults.json");
const TOKENS: [&str; 2] = [
    include_str!("../../../crates/token/fixtures/es256.jwt"),
    include_str!("../../../crates/token/fixtures/rs256.jwt"),
];
const NOW_MS: i64 = 1_795_900_000_000;
const HOUR_MS: i64 = 3_600_000;

/// What a server does with one request.
#[derive(Clone)]
enum Act {
    /// Sends these bytes and ends the connection.
    Say(Vec<u8>),
    /// Sends these bytes and keeps the connection open without a word.
    Hang(Vec<u8>),
    /// Sends these bytes and then without an end.
    Flood(Vec<u8>),
}

fn head(rest: &str) -> String {
    format!("HTTP/1.1 {rest}\r\n\r\n")
}

fn ok(body: &str) -> Act {
    let length = body.len();
    let head = head(&format!("200 OK\r\ncontent-length: {length}"));
    Act::Say([head.as_bytes(), body.as_bytes()].concat())
}

fn say(rest: &str) -> Act {
    Act::Say(head(rest).into_bytes())
}

/// A server on loopback; its n-th request, from 0, is answered as `act` has it.
struct Server {
    address: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn start(act: impl Fn(usize) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let act = act(counted.fetch_add(1, Ordering::SeqCst));
                tokio::spawn(answer(stream, act));
            }
        });
        Self { address, requests }
    }

    fn url(&self) -> String {
        format!("{}/keys?code=hidden", self.address)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, act: Act) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let request = String::from_utf8(request).unwrap().to_lowercase();
    assert!(!request.contains("accept-encoding") && !request.contains("referer"));
    let (Act::Say(bytes) | Act::Hang(bytes) | Act::Flood(bytes)) = &act;
    let mut is_read = stream.write_all(bytes).await.is_ok();
    while is_read && matches!(act, Act::Flood(_)) {
        is_read = stream.write_all(&[b' '; 65_536]).await.is_ok();
    }
    if matches!(act, Act::Hang(_)) {
        std::future::pending::<()>().await;
    }
    let _ended = stream.shutdown().await;
}

fn settings(source: JwksSource) -> JwksSettings {
    JwksSettings {
        source,
        refresh: Duration::from_secs(600),
        stale_max: Duration::from_secs(2 * 3_600),
        extra_roots: None,
    }
}

fn jwks(url: &str, data: &TempDir) -> Jwks {
    Jwks::new(settings(JwksSource::Url(url.to_owned())), data.path())
}

/// An error and its causes, as the log has them.
fn chain(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said += &format!(": {error}");
        cause = error.source();
    }
    said
}

fn kids(jwks: &Jwks) -> Vec<&str> {
    jwks.keys().map(|(kid, _)| kid).collect()
}

async fn refused(act: Act) -> String {
    let server = Server::start(move |_| act.clone()).await;
    let error = fetch(&server.url(), None, Duration::from_secs(2)).await;
    let error = error.unwrap_err();
    let said = format!("{}{error:?}", chain(&error));
    assert!(!said.contains("hidden"), "{said}");
    said
}

#[tokio::test]
async fn the_keys_of_a_url_verify_the_tokens_of_its_issuer() {
    let server = Server::start(|_| ok(WITH_FAULTS)).await;
    let data = tempfile::tempdir().unwrap();
    let mut jwks = jwks(&server.url(), &data);
    // As a task of the server has it.
    let looking = tokio::spawn(async move { (jwks.look(NOW_MS, false, 0).await, jwks) });
    let (looked, mut jwks) = looking.await.unwrap();
    assert!(looked.has_changed && looked.error.is_none(), "{looked:?}");
    assert_eq!(looked.faults.len(), 5);
    let told = looked.faults[0].to_string();
    assert!(told.starts_with("http://127.0.0.1:") && told.contains("/keys: key 4"));
    assert!(!format!("{looked:?} {jwks:?}").contains("hidden"));
    let own = SigningKey::new("ec-1".to_owned(), [1; 32], 0).unwrap();
    let mut set = KeySet::default();
    for (kid, key) in jwks.keys() {
        set.insert_foreign(kid.to_owned(), key.clone());
    }
    for token in TOKENS {
        assert!(!set.verify(token.trim()).unwrap().is_own);
    }
    set.insert("ec-1".to_owned(), own.verifying().unwrap());
    assert!(set.verify(TOKENS[0].trim()).is_err(), "an own key wins");
    // The same again is no news.
    let looked = jwks.look(NOW_MS + 600_000, false, 0).await;
    assert!(!looked.has_changed && looked.faults.is_empty());
    assert_eq!(jwks.good_at_ms(), Some(NOW_MS + 600_000));
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_token_of_an_unknown_key_makes_the_url_be_asked_once_a_minute() {
    let server = Server::start(|_| ok(GOOD)).await;
    let data = tempfile::tempdir().unwrap();
    let mut jwks = jwks(&server.url(), &data);
    for second in 0..=600 {
        jwks.look(NOW_MS + second * 1_000, second < 130, 0).await;
    }
    // At 0, 60 and 120 s; then ten minutes have not passed.
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn answers_that_are_wrong_are_refused_and_say_why() {
    let of_length = |length: usize| {
        let head = head(&format!("200 OK\r\ncontent-length: {length}"));
        [head.as_bytes(), GOOD.as_bytes()].concat()
    };
    assert!(refused(say("500 Oh")).await.contains("status 500"));
    assert!(refused(say("204 No Content")).await.contains("status 204"));
    assert!(
        refused(say("304 Not Modified"))
            .await
            .contains("status 304")
    );
    assert!(refused(Act::Say(of_length(5_000))).await.contains("Body"));
    assert!(
        refused(Act::Say(b"SSH-2.0-x\r\n".to_vec()))
            .await
            .contains("request")
    );
    // Over the limit, with a length that says so, with one that does not, and without any.
    let long = " ".repeat(10 * 1024 * 1024);
    assert!(refused(ok(&long)).await.contains("TooLong"));
    let chunked = head("200 OK\r\ntransfer-encoding: chunked") + "10000000\r\n";
    assert!(
        refused(Act::Flood(chunked.into_bytes()))
            .await
            .contains("TooLong")
    );
    let endless = head("200 OK").into_bytes();
    assert!(refused(Act::Flood(endless)).await.contains("TooLong"));
}

#[tokio::test]
async fn an_answer_that_is_longer_than_it_says_is_cut_there() {
    let server =
        Server::start(|_| Act::Say((head("200 OK\r\ncontent-length: 20") + GOOD).into_bytes()))
            .await;
    let bytes = fetch(&server.url(), None, Duration::from_secs(2))
        .await
        .unwrap();
    assert_eq!(bytes, GOOD.as_bytes()[..20]);
    let data = tempfile::tempdir().unwrap();
    let error = jwks(&server.url(), &data)
        .look(NOW_MS, false, 0)
        .await
        .error
        .unwrap();
    assert!(chain(&error).contains("no JSON Web Key Set"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    let body = head("200 OK\r\ncontent-length: 100") + "{";
    for said in ["", "HTTP/1.1 200 OK\r\n", &body] {
        let started = Instant::now();
        let server = Server::start({
            let said = said.as_bytes().to_vec();
            move |_| Act::Hang(said.clone())
        });
        let server = server.await;
        let error = fetch(&server.url(), None, Duration::from_millis(300)).await;
        let error = chain(&error.unwrap_err());
        assert!(error.contains("timed out"), "{said:?}: {error}");
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test]
async fn redirects_are_followed_on_the_server_itself_and_nowhere_else() {
    let to = |place: &str| {
        say(&format!(
            "302 Found\r\ncontent-length: 0\r\nlocation: {place}"
        ))
    };
    let inside = Server::start(|_| ok(GOOD)).await;
    let elsewhere = [
        format!("{}/keys", inside.address),
        inside.address.replace("127.0.0.1", "localhost"),
        "https://127.0.0.1/keys".to_owned(),
        "//169.254.169.254/latest/meta-data?hidden".to_owned(),
    ];
    for place in elsewhere {
        let said = refused(to(&place)).await;
        assert!(
            said.contains("another scheme, host or port"),
            "{place}: {said}"
        );
    }
    assert_eq!(inside.requests(), 0);
    let said = refused(to("file:///etc/passwd")).await;
    assert!(said.contains("status 302"), "{said}");
    let said = refused(to("/again?hidden")).await;
    assert!(said.contains("over 3 times"), "{said}");
    let thrice = Server::start(move |request| if request < 3 { to("/next") } else { ok(GOOD) });
    let thrice = thrice.await;
    let fetched = fetch(&thrice.url(), None, Duration::from_secs(2)).await;
    assert_eq!(fetched.unwrap(), GOOD.as_bytes());
    assert_eq!(thrice.requests(), 4);
}

#[tokio::test]
async fn failures_are_tried_again_and_the_last_good_set_counts_until_it_is_too_old() {
    let answers = |request| match request {
        0 => say("500 Oh"),
        1 => ok(GOOD),
        2 => ok("<html>"),
        3 => ok("{\"keys\": []}"),
        9.. => ok(GOOD),
        _ => say("503 Later"),
    };
    let server = Server::start(answers).await;
    let data = tempfile::tempdir().unwrap();
    let mut jwks = jwks(&server.url(), &data);
    let looked = jwks.look(NOW_MS, false, 0).await;
    assert!(!looked.has_changed && looked.error.is_some());
    assert!(
        jwks.look(NOW_MS + 4_999, false, 0).await.error.is_none(),
        "not yet"
    );
    assert!(jwks.look(NOW_MS + 5_000, false, 0).await.has_changed);
    let good_at_ms = NOW_MS + 5_000;
    // From now on nothing good comes.
    for (minutes, why) in [
        (10, "no JSON Web"),
        (20, "no key that"),
        (120, "status 503"),
    ] {
        let looked = jwks.look(good_at_ms + minutes * 60_000, false, 0).await;
        let error = chain(&looked.error.unwrap());
        assert!(error.contains(why) && !looked.has_changed, "{error}");
        assert_eq!(kids(&jwks), ["ec-1", "ed-1", "rsa-1"]);
    }
    let looked = jwks.look(good_at_ms + 2 * HOUR_MS + 1, false, 0).await;
    let error = chain(&looked.error.unwrap());
    assert!(
        looked.has_changed && error.contains("its keys are dropped"),
        "{error}"
    );
    assert!(!error.contains("hidden"), "{error}");
    assert_eq!((kids(&jwks).len(), jwks.good_at_ms()), (0, None));
    let mut later_ms = good_at_ms + 3 * HOUR_MS;
    while server.requests() < 10 {
        later_ms += 300_000;
        jwks.look(later_ms, false, 0).await;
    }
    assert_eq!(kids(&jwks).len(), 3);
}

#[tokio::test]
async fn a_restart_while_the_issuer_is_down_goes_on_with_the_last_good_set() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("jwks_cache.json");
    let server = Server::start(|request| {
        if request == 0 {
            ok(GOOD)
        } else {
            say("503 Later")
        }
    });
    let server = server.await;
    assert!(
        jwks(&server.url(), &data)
            .look(NOW_MS, false, 0)
            .await
            .faults
            .is_empty()
    );
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("hidden"));

    let recalled = |url: &str, now_ms| {
        let mut jwks = jwks(url, &data);
        let looked = jwks.recall(now_ms);
        (looked, jwks)
    };
    let (looked, mut jwks) = recalled(&server.url(), NOW_MS + HOUR_MS);
    assert!(looked.has_changed && kids(&jwks).len() == 3, "{looked:?}");
    // The time of the last good set is that from before the restart.
    let looked = jwks.look(NOW_MS + 2 * HOUR_MS, false, 0).await;
    assert!(looked.error.is_some() && kids(&jwks).len() == 3);
    assert!(
        jwks.look(NOW_MS + 2 * HOUR_MS + 1, false, 0)
            .await
            .has_changed
    );
    let (looked, jwks) = recalled(&server.url(), NOW_MS + 3 * HOUR_MS);
    assert!(looked.error.unwrap().to_string().contains("dropped") && kids(&jwks).is_empty());
    // A clock that was ahead when it was written, or is behind now.
    let (_, jwks) = recalled(&server.url(), NOW_MS - HOUR_MS);
    assert_eq!(jwks.good_at_ms(), Some(NOW_MS - HOUR_MS));

    let (looked, jwks) = recalled(&format!("{}&other", server.url()), NOW_MS);
    assert!(
        looked.faults.is_empty() && kids(&jwks).is_empty(),
        "another URL"
    );
    let is_ignored = |why: &str| {
        let (looked, jwks) = recalled(&server.url(), NOW_MS);
        assert!(
            kids(&jwks).is_empty() && chain(&looked.faults[0]).contains(why),
            "{looked:?}"
        );
    };
    for damaged in [
        "",
        "{}",
        text.split_at(text.len() / 2).0,
        &text.replace("AQAB", "AQAC"),
    ] {
        fs::write(&file, damaged).unwrap();
        is_ignored("damaged");
    }
    fs::write(&file, &text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o620)).unwrap();
    is_ignored("others than its owner");
}

#[tokio::test]
async fn a_set_that_cannot_be_kept_counts_all_the_same() {
    let server = Server::start(|_| ok(GOOD)).await;
    let data = tempfile::tempdir().unwrap();
    let gone = data.path().join("gone");
    let mut jwks = Jwks::new(settings(JwksSource::Url(server.url())), &gone);
    let looked = jwks.look(NOW_MS, false, 0).await;
    assert!(looked.has_changed && looked.error.is_none());
    assert!(
        matches!(looked.faults[..], [JwksFault::Cache { .. }]),
        "{looked:?}"
    );
}

#[tokio::test]
async fn a_file_is_read_when_it_changes_and_what_it_held_counts_while_it_is_broken() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("keys.json");
    let mut jwks = Jwks::new(settings(JwksSource::File(path.clone())), data.path());
    let looked = jwks.recall(NOW_MS);
    assert!(
        matches!(looked.error, Some(JwksLookError::Read { .. })),
        "{looked:?}"
    );
    let put = |text: &str| {
        // As tools do it: a new file in the place of the old one.
        let new = path.with_extension("tmp");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &path).unwrap();
    };
    put(WITH_FAULTS);
    let looked = jwks.look(NOW_MS, false, 0).await;
    assert!(looked.has_changed && looked.faults.len() == 5, "{looked:?}");
    let looked = jwks.look(NOW_MS + 9 * HOUR_MS, true, 0).await;
    assert!(!looked.has_changed && looked.faults.is_empty() && looked.error.is_none());
    assert_eq!(
        jwks.good_at_ms(),
        Some(NOW_MS + 9 * HOUR_MS),
        "it is still there"
    );
    put("{");
    let looked = jwks.look(NOW_MS + 10 * HOUR_MS, false, 0).await;
    assert!(looked.error.is_some() && kids(&jwks).len() == 3);
    let looked = jwks.look(NOW_MS + 11 * HOUR_MS, false, 0).await;
    assert!(
        looked.error.is_none() && kids(&jwks).len() == 3,
        "it was told of once"
    );
    let looked = jwks.look(NOW_MS + 12 * HOUR_MS, false, 0).await;
    assert!(looked.has_changed && kids(&jwks).is_empty());
    put(GOOD);
    assert!(jwks.look(NOW_MS + 12 * HOUR_MS, false, 0).await.has_changed);
    put(&" ".repeat(JWKS_BYTES_MAX + 1));
    let error = jwks
        .look(NOW_MS + 12 * HOUR_MS, false, 0)
        .await
        .error
        .unwrap();
    assert!(chain(&error).contains("256 KiB"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let error = jwks
        .look(NOW_MS + 12 * HOUR_MS, false, 0)
        .await
        .error
        .unwrap();
    assert!(chain(&error).contains("no regular file"));
}

/// A server that speaks TLS under a certificate of its own, which it writes to `roots`.
async fn tls_server(roots: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(roots, made.cert.pem()).unwrap();
    let key = made.signing_key.serialize_der();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, ok(GOOD)).await;
            }
        }
    });
    format!("https://localhost:{port}/keys?code=hidden")
}

#[tokio::test]
async fn over_tls_a_server_is_believed_only_under_a_certificate_that_is_trusted() {
    let data = tempfile::tempdir().unwrap();
    let roots = data.path().join("roots.pem");
    let url = tls_server(&roots).await;
    let within = Duration::from_secs(5);
    let fetched = fetch(&url, Some(&roots), within).await;
    assert_eq!(fetched.unwrap(), GOOD.as_bytes());
    let other_name = url.replace("localhost", "127.0.0.1");
    for (url, roots) in [(&url, None), (&other_name, Some(roots.as_path()))] {
        let error = chain(&fetch(url, roots, within).await.unwrap_err());
        assert!(
            error.contains("request fails") && !error.contains("hidden"),
            "{error}"
        );
    }
    fs::write(&roots, "no certificates").unwrap();
    let error = fetch(&url, Some(&roots), within).await.unwrap_err();
    assert!(matches!(error, FetchError::NoRoots { .. }), "{error:?}");
    fs::remove_file(&roots).unwrap();
    let error = fetch(&url, Some(&roots), within).await.unwrap_err();
    assert!(matches!(error, FetchError::Roots { .. }), "{error:?}");
}
