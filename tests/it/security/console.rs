//! Signing in at the console: a key once, a cookie from then on.

use super::{command, new_key};
use crate::support::{Reply, Server};

async fn sign_in(server: &Server, key: &str, origin: Option<&str>) -> Reply {
    let url = format!("{}/api/v1/session", server.admin_url());
    let mut request = reqwest::Client::new()
        .post(url)
        .json(&serde_json::json!({"key": key}));
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    Reply::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_cookie_stands_for_a_key_until_the_key_ends() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let key = new_key(&data, &["--scope", "read"]).await;
    let scrapes = new_key(&data, &["--scope", "metrics"]).await;
    let all = ["--scope", "metrics", "--scope", "read"];
    let all = new_key(&data, &all).await;
    let settings = [("TILLWATCH_ADMIN_AUTH", "required")];
    let mut server = Server::start_on(folder.path(), &settings).await;
    // Whoever has shown nothing learns that a key is asked for, and nothing else.
    let about = server.get("/api/v1/about", &[]).await.json();
    assert_eq!(about["auth"], "required");
    assert!(about["version"].is_null() && about["signed_in"].is_null());
    assert_eq!(server.get("/api/v1/fleet", &[]).await.status, 401);
    assert_eq!(
        server.get("/api/v1/live?topics=fleet", &[]).await.status,
        401
    );
    assert_eq!(
        sign_in(&server, "tw_000000000000_0", None).await.code(),
        "invalid_token"
    );
    assert_eq!(sign_in(&server, &scrapes, None).await.code(), "scope");
    let foreign = sign_in(&server, &key, Some("https://evil.example.com")).await;
    assert_eq!(foreign.code(), "foreign_origin");
    let signed = sign_in(&server, &key, None).await;
    assert_eq!(signed.status, 204);
    let cookie = signed.header("set-cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let secret = key.rsplit('_').next().unwrap();
    assert!(!cookie.contains(secret) && !server.log().contains(secret));
    let session = cookie.split(';').next().unwrap().to_owned();
    let with = [("cookie", session.as_str())];
    assert_eq!(server.get_with("/api/v1/fleet", &with).await.status, 200);
    let about = server.get_with("/api/v1/about", &with).await.json();
    assert_eq!(about["signed_in"]["scopes"], serde_json::json!(["read"]));
    // A cookie does no more than its key.
    let acted = reqwest::Client::new()
        .post(format!("{}/api/v1/seal", server.admin_url()))
        .header("cookie", &session)
        .json(&serde_json::json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(acted.status(), 403);
    let forged = session.replace('=', "=00");
    let forged = [("cookie", forged.as_str())];
    assert_eq!(server.get_with("/api/v1/fleet", &forged).await.status, 401);
    // It outlives the collector, and ends with its key.
    server.show(&all);
    let server = server.kill_and_restart().await;
    assert_eq!(server.get_with("/api/v1/fleet", &with).await.status, 200);
    let id = key.split('_').nth(1).unwrap();
    command("key", &["revoke"], &data, &["--id", id]).await;
    let mut status = 200;
    for _ in 0..100 {
        status = server.get_with("/api/v1/fleet", &with).await.status;
        if status != 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(status, 401);
    server.stop().await;
}
