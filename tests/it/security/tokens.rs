//! Terminals that show who they are, and others that pretend to.

use serde_json::{Value, json};
use tillwatch_token::{Claims, SigningKey};

use super::{batch, claims, holds, issue, key_of, outcome, post, refused, start, token, until};
use crate::support::{data, many, run, said};

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
async fn a_key_is_taken_retired_and_let_go_while_the_collector_runs() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let own = data(&server);
    let first = issue(&own, &["--store", "store-1"]).await;
    let kid = key_of(&own).kid().to_owned();
    token(&["key", "new"], &own, &[]).await;
    let second = issue(&own, &["--store", "store-1"]).await;
    let answers = async |token: &str| {
        post(&server, token, &batch("store-1", "till-1").0)
            .await
            .status
    };
    assert_eq!(answers(&second).await, 202);
    assert_eq!(answers(&first).await, 202, "an older key verifies on");
    token(&["key", "retire", &kid], &own, &[]).await;
    assert_eq!(answers(&first).await, 202, "and a retired one, too");
    let listed = token(&["key", "list"], &own, &[]).await;
    assert!(
        listed.lines().count() == 2 && listed.contains("retired"),
        "{listed}"
    );
    token(&["key", "remove", &kid], &own, &[]).await;
    assert_eq!(answers(&first).await, 401);
    assert_eq!(answers(&second).await, 202);
    // Somebody who has no other way takes the file away.
    let file = std::fs::read_dir(own.join("token_keys")).unwrap().next();
    std::fs::remove_file(file.unwrap().unwrap().path()).unwrap();
    until(&server, &second, 401).await;
    server.stop().await;
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
