//! Terminals that show who they are, and others that pretend to.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tillwatch_token::{AUDIENCE, Claims, SigningKey};

use crate::support::{Batch, Reply, Server, data, many, now_ms, run, said};

const PATIENCE: Duration = Duration::from_secs(20);

async fn token(subcommand: &[&str], folder: &Path, more: &[&str]) -> String {
    let mut arguments: Vec<String> = subcommand.iter().map(|&word| word.to_owned()).collect();
    arguments.extend(["--data-dir".to_owned(), folder.display().to_string()]);
    arguments.extend(more.iter().map(|&word| word.to_owned()));
    let output = run("token", arguments).await;
    let (is_good, text) = said(&output);
    assert!(is_good, "{text}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn issue(folder: &Path, more: &[&str]) -> String {
    token(&["issue"], folder, more).await
}

/// A collector that asks for tokens and has a key.
async fn start(folder: &Path) -> Server {
    token(&["key", "new"], &folder.join("data"), &[]).await;
    Server::start_on(folder, &[("TILLWATCH_AUTH", "required")]).await
}

async fn post(server: &Server, token: &str, body: &Value) -> Reply {
    let header = format!("Bearer {token}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", header.as_str()),
    ];
    server.post_with(&headers, body.to_string()).await
}

fn batch(store_id: &str, terminal_id: &str) -> Batch {
    Batch::new(store_id)
        .with("terminal_id", terminal_id)
        .value_now("lcp_ms", 1.0)
}

fn outcome(reply: &Reply) -> (u16, String) {
    let code = if reply.status == 202 {
        String::new()
    } else {
        reply.code()
    };
    (reply.status, code)
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// The key that signs, from its file.
fn key_of(data: &Path) -> SigningKey {
    let entry = std::fs::read_dir(data.join("token_keys")).unwrap().next();
    let text = std::fs::read_to_string(entry.unwrap().unwrap().path()).unwrap();
    SigningKey::from_json(&text).unwrap()
}

fn claims(store: &str, from_s: i64, until_s: i64) -> Claims {
    let now_s = now_ms() / 1_000;
    Claims {
        aud: AUDIENCE.to_owned(),
        store: store.to_owned(),
        terminal: None,
        cohort: None,
        jti: "t".to_owned(),
        fam: None,
        iat: now_s + from_s,
        auth_time: None,
        nbf: None,
        exp: now_s + until_s,
    }
}

#[tokio::test]
async fn a_terminal_posts_for_itself_and_for_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let own = data(&server);
    let of_till = issue(&own, &["--store", "store-1", "--terminal", "till-1"]).await;
    let of_store = issue(&own, &["--store", "store-1"]).await;

    let taken = refused(202, "");
    assert_eq!(
        outcome(&post(&server, &of_till, &batch("store-1", "till-1").0).await),
        taken
    );
    // What the token says need not be said again.
    let silent = batch("store-1", "till-1")
        .without("store_id")
        .without("terminal_id");
    assert_eq!(outcome(&post(&server, &of_till, &silent.0).await), taken);
    for till in ["till-1", "till-2"] {
        let reply = post(&server, &of_store, &batch("store-1", till).0).await;
        assert_eq!(outcome(&reply), taken, "{till}");
    }
    let reply = post(&server, &of_till, &batch("store-2", "till-1").0).await;
    assert_eq!(outcome(&reply), refused(403, "store_mismatch"));
    let reply = post(&server, &of_till, &batch("store-1", "till-2").0).await;
    assert_eq!(outcome(&reply), refused(403, "terminal_mismatch"));
    // Among others only the batch of another store is refused.
    let both = many([&batch("store-2", "till-1"), &batch("store-1", "till-1")]);
    let reply = post(&server, &of_till, &both).await;
    assert_eq!((reply.status, reply.counts()), (202, (1, 0, 1)));
    let reply = server.post(&batch("store-1", "till-1").0).await;
    assert_eq!(outcome(&reply), refused(401, "no_credential"));
    assert_eq!(reply.header("www-authenticate"), "Bearer");

    // Neither the tokens nor what was refused is anywhere.
    let sessions = server.get("/api/v1/stores", &[]).await.text();
    assert!(!sessions.contains("store-2"), "{sessions}");
    server.stop().await;
    for secret in [&of_till, &of_store] {
        let signature = secret.rsplit('.').next().unwrap();
        assert!(
            !holds(folder.path(), signature.as_bytes()),
            "a token was kept"
        );
    }
}

/// Whether a file below a folder holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            holds(&path, bytes)
        } else {
            let content = std::fs::read(&path).unwrap_or_default();
            content.windows(bytes.len()).any(|window| window == bytes)
        }
    })
}

#[tokio::test]
async fn tokens_that_are_old_young_forged_or_of_others_are_refused_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let key = key_of(&data(&server));
    let forger = SigningKey::new(key.kid().to_owned(), [9; 32], 0).unwrap();
    let stranger = SigningKey::new("another".to_owned(), [9; 32], 0).unwrap();
    let good = claims("store-1", -100, 100);
    let audience = Claims {
        aud: "another".to_owned(),
        ..good.clone()
    };
    let young = Claims {
        nbf: Some(good.iat + 200),
        ..good.clone()
    };
    let signed = key.sign(&good).unwrap();
    let cut = signed.get(..signed.len() - 2).unwrap().to_owned();
    let cases = [
        (
            key.sign(&claims("store-1", -200, -100)).unwrap(),
            "token_expired",
        ),
        (key.sign(&young).unwrap(), "invalid_token"),
        (key.sign(&audience).unwrap(), "invalid_token"),
        (forger.sign(&good).unwrap(), "invalid_token"),
        (stranger.sign(&good).unwrap(), "invalid_token"),
        (cut, "invalid_token"),
        ("a".repeat(10_000), "invalid_token"),
        ("tw_1_secret".to_owned(), "invalid_token"),
    ];
    for (token, code) in &cases {
        let reply = post(&server, token, &batch("store-1", "till-1").0).await;
        assert_eq!(outcome(&reply), refused(401, code), "{token:.30}");
        assert!(!reply.text().contains(token.as_str()));
    }
    let header = format!("Bearer {signed}");
    let twice = [
        ("authorization", header.as_str()),
        ("authorization", header.as_str()),
    ];
    let reply = server
        .post_with(&twice, batch("store-1", "till-1").0.to_string())
        .await;
    assert_eq!(outcome(&reply), refused(401, "invalid_token"));
    let reply = post(&server, &signed, &batch("store-1", "till-1").0).await;
    assert_eq!(reply.status, 202, "{}", reply.text());

    let page = server.metrics().await;
    let counted = |code: &str| page.value("tillwatch_requests_refused_total", &[("code", code)]);
    assert_eq!(
        (counted("token_expired"), counted("invalid_token")),
        (1.0, 8.0)
    );
    server.stop().await;
}

#[tokio::test]
async fn a_key_is_taken_and_let_go_while_the_collector_runs() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let own = data(&server);
    let first = issue(&own, &["--store", "store-1"]).await;
    let file = std::fs::read_dir(own.join("token_keys"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    token(&["key", "new"], &own, &[]).await;
    let second = issue(&own, &["--store", "store-1"]).await;
    until(&server, &second, 202).await;
    let reply = post(&server, &first, &batch("store-1", "till-1").0).await;
    assert_eq!(
        reply.status, 202,
        "an older key verifies as long as it is there"
    );
    std::fs::remove_file(file).unwrap();
    until(&server, &first, 401).await;
    let listed = token(&["key", "list"], &own, &[]).await;
    assert_eq!(listed.lines().count(), 1, "{listed}");
    server.stop().await;
}

/// Posts with a token until the collector answers so.
async fn until(server: &Server, token: &str, status: u16) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let reply = post(server, token, &batch("store-1", "till-1").0).await;
        if reply.status == status {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{}", reply.text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_fleet_with_tokens_is_found_again_whole_and_one_without_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let key = std::fs::read_dir(data(&server).join("token_keys"))
        .unwrap()
        .next();
    let key = key.unwrap().unwrap().path().display().to_string();
    let urls = [server.ingest, server.admin].map(|address| format!("http://{address}"));
    let fleet = |more: &[&str]| {
        let mut arguments: Vec<String> = [
            "--url",
            &urls[0],
            "--admin-url",
            &urls[1],
            "--stores",
            "3",
            "--terminals",
            "12",
            "--rate",
            "600",
            "--duration",
            "5s",
            "--drain",
            "5s",
            "--quiet",
            "--json",
        ]
        .map(str::to_owned)
        .into();
        arguments.extend(more.iter().map(|&word| word.to_owned()));
        run("simulate", arguments)
    };
    let output = fleet(&["--token-key", &key]).await;
    let (is_good, text) = said(&output);
    assert!(is_good, "{text}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["comparison"]["lost"], json!(0), "{text}");
    let (is_good, text) = said(&fleet(&["--seed", "2"]).await);
    assert!(!is_good && text.contains("no_credential"), "{text}");
    server.stop().await;
}
