//! Static keys, browser applications, beacons, keys of another issuer.

use std::time::Duration;

use serde_json::json;
use tillwatch_token::{Claims, SigningKey};

use super::{batch, claims, command, holds, issue, new_key, outcome, post, refused, start, token};
use crate::support::{Reply, Server, data, many, now_ms};

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_server_s_key_posts_for_its_stores_and_is_nowhere_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let own = data(&server);
    let all = new_key(&own, &["--scope", "post", "--name", "the import"]).await;
    let one = new_key(&own, &["--scope", "post", "--store", "store-1"]).await;
    let scraper = new_key(&own, &["--scope", "metrics"]).await;
    assert_eq!(
        post(&server, &all, &batch("store-9", "till-1").0)
            .await
            .status,
        202
    );
    assert_eq!(
        post(&server, &one, &batch("store-1", "till-1").0)
            .await
            .status,
        202
    );
    let reply = post(&server, &one, &batch("store-2", "till-1").0).await;
    assert_eq!(outcome(&reply), refused(403, "store_mismatch"));
    let both = many([&batch("store-2", "till-1"), &batch("store-1", "till-1")]);
    let reply = post(&server, &one, &both).await;
    assert_eq!((reply.status, reply.counts()), (202, (1, 0, 1)));
    let reply = post(&server, &scraper, &batch("store-1", "till-1").0).await;
    assert_eq!(outcome(&reply), refused(403, "scope"));
    let (body, last) = one.split_at(one.len() - 1);
    let wrong = format!("{body}{}", if last == "0" { '1' } else { '0' });
    let reply = post(&server, &wrong, &batch("store-1", "till-1").0).await;
    assert_eq!(outcome(&reply), refused(401, "invalid_token"));
    let id = one.split('_').nth(1).unwrap();
    let listed = command("key", &["list"], &own, &[]).await;
    assert!(listed.contains(id) && listed.contains("store-1") && listed.contains("the import"));
    command("key", &["revoke"], &own, &["--id", id]).await;
    let server = server.kill_and_restart().await;
    let reply = post(&server, &one, &batch("store-1", "till-1").0).await;
    assert_eq!(outcome(&reply), refused(401, "invalid_token"));
    assert_eq!(
        post(&server, &all, &batch("store-9", "till-1").0)
            .await
            .status,
        202
    );
    server.stop().await;
    for key in [&all, &one, &scraper] {
        let secret = key.rsplit('_').next().unwrap();
        assert!(!holds(folder.path(), secret.as_bytes()), "a key was kept");
    }
}

#[tokio::test]
async fn an_application_posts_from_its_pages_and_moves_no_series_of_a_till() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("data");
    token(&["key", "new"], &own, &[]).await;
    let app = new_key(
        &own,
        &["--scope", "app", "--name", "shop", "--store", "store-1"],
    )
    .await;
    let environment = [
        ("TILLWATCH_AUTH", "required"),
        ("TILLWATCH_CORS_ORIGINS", "https://shop.example.com"),
    ];
    let off = Server::start_on(folder.path(), &environment).await;
    let send = async |server: &Server, origin: &str, body: String| {
        let headers = [JSON, ("x-api-key", app.as_str()), ("origin", origin)];
        server.post_with(&headers, body).await
    };
    let body = || batch("store-1", "till-1").0.to_string();
    let reply = send(&off, "https://shop.example.com", body()).await;
    assert_eq!(outcome(&reply), refused(403, "scope"));
    off.stop().await;
    let environment = [&environment[..], &[("TILLWATCH_BROWSER_APP_KEYS", "true")]].concat();
    let server = Server::start_on(folder.path(), &environment).await;
    let of_till = issue(&own, &["--store", "store-1", "--terminal", "till-1"]).await;
    let first = batch("store-1", "till-1");
    assert_eq!(post(&server, &of_till, &first.0).await.status, 202);
    server.wait_applied().await;
    let before = server.fleet().await;
    // The same queue, far ahead: the till's own numbers must go on as if nothing had been.
    let ahead = first
        .clone()
        .seq(1_000_000)
        .value_now("sync_duration_ms", 9_000.0);
    let reply = send(&server, "https://shop.example.com", ahead.0.to_string()).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let again = send(&server, "https://shop.example.com", ahead.0.to_string()).await;
    assert_eq!(
        again.counts().1 + again.counts().0,
        reply.counts().0,
        "a resend counts once"
    );
    assert_eq!(again.header("idempotent-replayed"), "true");
    server.wait_applied().await;
    let after = server.fleet().await;
    let series = [("store_id", "store-1")];
    for name in [
        "pos_sync_duration_seconds_count",
        "pos_web_vitals_lcp_seconds_count",
    ] {
        assert_eq!(
            before.sum(name, &series),
            after.sum(name, &series),
            "{name}"
        );
    }
    let next = first.next().value_now("lcp_ms", 2.0);
    assert_eq!(post(&server, &of_till, &next.0).await.counts(), (1, 0, 0));
    for (origin, body, expected) in [
        (
            "https://evil.example.com",
            body(),
            refused(403, "origin_not_allowed"),
        ),
        (
            "https://shop.example.com",
            batch("store-2", "t").0.to_string(),
            refused(403, "store_mismatch"),
        ),
    ] {
        let reply = send(&server, origin, body).await;
        assert_eq!(outcome(&reply), expected, "{origin}");
    }
    let without = server.post_with(&[JSON, ("x-api-key", &app)], body()).await;
    assert_eq!(outcome(&without), refused(403, "origin_not_allowed"));
    server.stop().await;
}

#[tokio::test]
async fn a_beacon_bears_its_token_first_in_a_short_body_and_nobody_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let own = data(&server);
    let of_till = issue(&own, &["--store", "store-1", "--terminal", "till-1"]).await;
    let beacon = |token: &str, batch: &str| {
        let rest = batch.strip_prefix('{').unwrap();
        format!("{{\"token\":\"{token}\",{rest}")
    };
    let plain = [("content-type", "text/plain;charset=UTF-8")];
    let body = batch("store-1", "till-1").0.to_string();
    let reply = server.post_with(&plain, beacon(&of_till, &body)).await;
    assert_eq!(
        (reply.status, reply.counts()),
        (202, (1, 0, 0)),
        "{}",
        reply.text()
    );
    let other = batch("store-2", "till-1").0.to_string();
    let reply = server.post_with(&plain, beacon(&of_till, &other)).await;
    assert_eq!(outcome(&reply), refused(403, "store_mismatch"));
    let reply = server.post_with(&plain, beacon("a.b.c", &body)).await;
    assert_eq!(outcome(&reply), refused(401, "invalid_token"));
    let last = format!(
        "{},\"token\":\"{of_till}\"}}",
        body.strip_suffix('}').unwrap()
    );
    let reply = server.post_with(&plain, last).await;
    assert_eq!(outcome(&reply), refused(401, "no_credential"));
    let long = beacon(&of_till, &body) + &" ".repeat(64 * 1024);
    let reply = server.post_with(&plain, long).await;
    assert_eq!(outcome(&reply), refused(401, "no_credential"));
    let page = server.metrics().await;
    assert_eq!(page.value("tillwatch_unknown_keys_total", &[]), 0.0);
    server.stop().await;
    let signature = of_till.rsplit('.').next().unwrap();
    assert!(
        !holds(folder.path(), signature.as_bytes()),
        "a token was kept"
    );
}

#[tokio::test]
async fn the_shop_s_own_backend_signs_tokens_and_takes_a_key_back() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("keys.json");
    // Another collector's key is as good an issuer as any.
    let issuer = SigningKey::new("shop-1".to_owned(), [5; 32], 0).unwrap();
    let public = issuer.to_json();
    let mut public: serde_json::Value = serde_json::from_str(&public).unwrap();
    public
        .as_object_mut()
        .unwrap()
        .retain(|name, _| name != "d" && name != "created_at_ms");
    std::fs::write(&set, json!({"keys": [public]}).to_string()).unwrap();
    let path = set.display().to_string();
    let environment = [
        ("TILLWATCH_AUTH", "required"),
        ("TILLWATCH_JWKS", path.as_str()),
    ];
    let server = Server::start_on(folder.path(), &environment).await;
    let good = Claims {
        terminal: Some("till-1".to_owned()),
        ..claims("store-1", -5, 600)
    };
    let signed = issuer.sign(&good).unwrap();
    assert_eq!(
        post(&server, &signed, &batch("store-1", "till-1").0)
            .await
            .status,
        202
    );
    let request = server
        .request(reqwest::Method::POST, "/v1/token")
        .bearer_auth(&signed);
    let reply = Reply::of(request.send().await.unwrap()).await;
    assert_eq!(
        outcome(&reply),
        refused(401, "invalid_token"),
        "whoever signed it renews it"
    );
    let other = SigningKey::new("shop-2".to_owned(), [6; 32], 0).unwrap();
    let unknown = other.sign(&good).unwrap();
    assert_eq!(
        post(&server, &unknown, &batch("store-1", "till-1").0)
            .await
            .status,
        401
    );
    let mut next: serde_json::Value = serde_json::from_str(&other.to_json()).unwrap();
    next.as_object_mut()
        .unwrap()
        .retain(|name, _| name != "d" && name != "created_at_ms");
    std::fs::write(&set, json!({"keys": [next]}).to_string()).unwrap();
    let started = now_ms();
    while post(&server, &signed, &batch("store-1", "till-1").0)
        .await
        .status
        != 401
    {
        assert!(now_ms() - started < 20_000, "the key was not taken back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        post(&server, &unknown, &batch("store-1", "till-1").0)
            .await
            .status,
        202
    );
    server.stop().await;
}

#[tokio::test]
async fn a_backup_holds_private_keys_only_if_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let own = data(&server);
    let signed = issue(&own, &["--store", "store-1"]).await;
    let posting = new_key(&own, &["--scope", "post"]).await;
    let admin = server.admin_url();
    let back_up = async |name: &str, more: &[&str]| {
        let target = folder.path().join(name);
        let more = [&["--admin-url", admin.as_str()], more].concat();
        command("backup", &[&target.display().to_string()], &own, &more).await;
        target
    };
    let without = back_up("without", &[]).await;
    let with = back_up("with", &["--with-keys"]).await;
    assert!(!without.join("token_keys").exists());
    server.stop().await;
    for (from, name, status) in [(&without, "one", 401), (&with, "two", 202)] {
        let from = from.display().to_string();
        command(
            "restore",
            &[],
            &folder.path().join(name).join("data"),
            &["--from", &from],
        )
        .await;
        let environment = [("TILLWATCH_AUTH", "required")];
        let restored = Server::start_on(&folder.path().join(name), &environment).await;
        let answered = post(&restored, &signed, &batch("store-1", "till-1").0).await;
        assert_eq!(answered.status, status, "{}", answered.text());
        // Of a static key only the digest is needed.
        let answered = post(&restored, &posting, &batch("store-1", "till-1").0).await;
        assert_eq!(answered.status, 202, "{}", answered.text());
        restored.stop().await;
    }
}
