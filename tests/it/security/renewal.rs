//! A till that was offline for a week, and the end of tokens.

use serde_json::{Value, json};
use tillwatch_token::{Claims, SigningKey};

use super::{batch, claims, command, issue, key_of, outcome, post, refused, start, token};
use crate::support::{Reply, Server, data, now_ms, run, run_with_input, said};

const DAY_S: i64 = 86_400;

async fn renew(server: &Server, token: &str) -> Reply {
    let request = server.request(reqwest::Method::POST, "/v1/token");
    let request = request.bearer_auth(token).body("");
    Reply::of(request.send().await.unwrap()).await
}

async fn renewed(server: &Server, token: &str) -> String {
    let reply = renew(server, token).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("cache-control"), "no-store");
    let body = reply.json();
    assert!(body["expires_at_ms"].as_i64().unwrap() > now_ms());
    body["token"].as_str().unwrap().to_owned()
}

/// What a token says, without a look at its signature.
fn said_by(token: &str) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part);
    serde_json::from_slice(&bytes.unwrap()).unwrap()
}

#[tokio::test]
async fn after_a_week_offline_a_till_renews_its_token_and_delivers_everything() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let key = key_of(&data(&server));
    let old = Claims {
        terminal: Some("till-1".to_owned()),
        jti: "first".to_owned(),
        ..claims("store-1", -10 * DAY_S, -7 * DAY_S)
    };
    let expired = key.sign(&old).unwrap();
    let reply = post(&server, &expired, &batch("store-1", "till-1").0).await;
    assert_eq!(outcome(&reply), refused(401, "token_expired"));
    let fresh = renewed(&server, &expired).await;
    let reply = post(&server, &fresh, &batch("store-1", "till-1").0).await;
    assert_eq!((reply.status, reply.counts()), (202, (1, 0, 0)));
    let claims_of = said_by(&fresh);
    assert_eq!(
        (&claims_of["fam"], &claims_of["auth_time"]),
        (&json!("first"), &json!(old.iat))
    );
    assert_eq!(
        (&claims_of["store"], &claims_of["terminal"]),
        (&json!("store-1"), &json!("till-1"))
    );
    let life_s = claims_of["exp"].as_i64().unwrap() - claims_of["iat"].as_i64().unwrap();
    assert_eq!(life_s, 3 * DAY_S);
    // The next one is of the same family; nobody gets a token of another store by asking.
    assert_eq!(
        said_by(&renewed(&server, &fresh).await)["fam"],
        json!("first")
    );
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_renewed_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let key = key_of(&data(&server));
    let forger = SigningKey::new(key.kid().to_owned(), [9; 32], 0).unwrap();
    let late = claims("store-1", -20 * DAY_S, -8 * DAY_S - 5);
    let begun_long_ago = Claims {
        fam: Some("family".to_owned()),
        auth_time: Some(late.iat - 390 * DAY_S),
        ..claims("store-1", -DAY_S, DAY_S)
    };
    let young = Claims {
        nbf: Some(now_ms() / 1_000 + 600),
        ..claims("store-1", -DAY_S, DAY_S)
    };
    for (token, code) in [
        (key.sign(&late).unwrap(), "token_expired"),
        (key.sign(&begun_long_ago).unwrap(), "token_expired"),
        (key.sign(&young).unwrap(), "invalid_token"),
        (
            forger.sign(&claims("store-1", -1, 100)).unwrap(),
            "invalid_token",
        ),
        ("nonsense".to_owned(), "invalid_token"),
    ] {
        let reply = renew(&server, &token).await;
        assert_eq!(outcome(&reply), refused(401, code), "{}", reply.text());
    }
    let nobody = server
        .request(reqwest::Method::POST, "/v1/token")
        .send()
        .await;
    let reply = Reply::of(nobody.unwrap()).await;
    assert_eq!(outcome(&reply), refused(401, "no_credential"));
    server.stop().await;
}

#[tokio::test]
async fn what_is_revoked_stays_so_after_a_kill_and_for_an_older_release() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let own = data(&server);
    let of =
        async |terminal: &str| issue(&own, &["--store", "store-1", "--terminal", terminal]).await;
    let (one, two, three) = (of("till-1").await, of("till-2").await, of("till-3").await);
    let next_of_one = renewed(&server, &one).await;
    let elsewhere = issue(&own, &["--store", "store-2"]).await;
    let family = said_by(&one)["jti"].as_str().unwrap().to_owned();
    token(&["revoke"], &own, &["--id", &family]).await;
    token(
        &["revoke"],
        &own,
        &[
            "--store",
            "store-1",
            "--terminal",
            "till-2",
            "--before",
            "now",
        ],
    )
    .await;
    let again = of("till-2").await;
    let check = async |server: &Server| {
        for (token, terminal, expected) in [
            (&one, "till-1", refused(401, "token_revoked")),
            (&next_of_one, "till-1", refused(401, "token_revoked")),
            (&two, "till-2", refused(401, "token_revoked")),
            (&again, "till-2", refused(202, "")),
            (&three, "till-3", refused(202, "")),
        ] {
            let reply = post(server, token, &batch("store-1", terminal).0).await;
            assert_eq!(outcome(&reply), expected, "{terminal}");
        }
        let reply = renew(server, &two).await;
        assert_eq!(outcome(&reply), refused(401, "token_revoked"));
        let reply = post(server, &elsewhere, &batch("store-2", "till-1").0).await;
        assert_eq!(outcome(&reply), refused(202, ""));
    };
    check(&server).await;
    let server = server.kill_and_restart().await;
    check(&server).await;
    let listed = token(&["list"], &own, &[]).await;
    assert!(
        listed.contains(&family) && listed.contains("store-1 till-2"),
        "{listed}"
    );
    server.stop().await;
    // Releases before this one know layouts up to 6, and would let the tokens in again.
    let file = rusqlite::Connection::open(own.join("state.sqlite")).unwrap();
    let demanded: i64 = file
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(demanded, 7);
    drop(file);
    // While nobody runs on the folder, the command holds its lock.
    token(&["revoke"], &own, &["--store", "store-1"]).await;
    let server = Server::start_on(folder.path(), &[("TILLWATCH_AUTH", "required")]).await;
    let reply = post(&server, &three, &batch("store-1", "till-3").0).await;
    assert_eq!(outcome(&reply), refused(401, "token_revoked"));
    server.stop().await;
}

#[tokio::test]
async fn commands_say_what_is_wrong_and_tell_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let own = data(&server);
    let secret = issue(&own, &["--store", "store-1"]).await;
    let inspect = vec![
        "inspect".to_owned(),
        "--data-dir".to_owned(),
        own.display().to_string(),
    ];
    let (is_good, text) = said(&run_with_input("token", &inspect, secret.clone()).await);
    assert!(
        is_good && text.contains("store-1") && !text.contains(&secret),
        "{text}"
    );
    for (words, expected) in [
        (vec!["revoke"], "--id"),
        (
            vec!["revoke", "--id", "a", "--store", "b"],
            "cannot be used",
        ),
        (vec!["revoke", "--store", "store 1"], "must match"),
        (
            vec!["revoke", "--store", "store-1", "--before", "tomorrow"],
            "--before tomorrow",
        ),
        (
            vec!["revoke", "--store", "s", "--before", "2999-01-01T00:00:00Z"],
            "cannot be revoked yet",
        ),
        (vec!["key", "retire", "../../state"], "letters and digits"),
        (vec!["key", "retire", "abc"], "no key"),
        (vec!["issue", "--store", "s", "--days", "401"], "401"),
    ] {
        let mut arguments: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        arguments.extend(["--data-dir".to_owned(), own.display().to_string()]);
        let (is_good, text) = said(&run("token", arguments).await);
        assert!(!is_good && text.contains(expected), "{words:?}: {text}");
    }
    let log = std::fs::read_to_string(own.join("audit_log.jsonl")).unwrap();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(
            line["act"].is_string() && line["outcome"].is_string(),
            "{line}"
        );
    }
    assert!(
        log.contains("token.issue") && log.contains("signing_key.new"),
        "{log}"
    );
    assert!(!log.contains(secret.rsplit('.').next().unwrap()));
    let listed = command("key", &["list"], &own, &[]).await;
    assert!(listed.contains("no key"), "{listed}");
    server.stop().await;
}
