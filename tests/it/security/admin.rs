//! Scopes of the admin listener, commands with a key, the audit log, headers.

use std::path::Path;

use serde_json::Value;

use super::{new_key, token};
use crate::support::{Batch, Server, data, run, said};

/// A collector that asks whoever comes to its admin listener, and keys with one scope each.
async fn start(folder: &Path) -> (Server, [String; 3]) {
    let own = folder.join("data");
    token(&["key", "new"], &own, &[]).await;
    let key = async |scope: &str| new_key(&own, &["--scope", scope]).await;
    let keys = [
        key("metrics").await,
        key("read").await,
        key("operate").await,
    ];
    let all = new_key(
        &own,
        &[
            "--scope", "metrics", "--scope", "read", "--scope", "operate",
        ],
    )
    .await;
    let mut server = Server::start_on(folder, &[("TILLWATCH_ADMIN_AUTH", "required")]).await;
    server.show(&all);
    (server, keys)
}

#[tokio::test]
async fn every_route_asks_for_its_scope_and_health_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (server, keys) = start(folder.path()).await;
    server
        .taken(&Batch::new("store-1").value_now("lcp_ms", 1.0).0)
        .await;
    server.wait_applied().await;
    const SCOPES: [&str; 3] = ["metrics", "read", "operate"];
    let routes = [
        ("GET", "/metrics", "metrics"),
        ("GET", "/metrics/fleet", "metrics"),
        ("GET", "/api/v1/percentiles?metric=lcp_ms", "read"),
        ("GET", "/api/v1/stores", "read"),
        ("GET", "/api/v1/terminals?store_id=store-1", "read"),
        ("GET", "/api/v1/metrics", "read"),
        ("GET", "/api/v1/clock", "read"),
        ("GET", "/api/v1/fleet", "read"),
        ("GET", "/api/v1/changes", "read"),
        ("GET", "/api/v1/pipeline", "read"),
        ("GET", "/api/v1/settings", "read"),
        ("GET", "/api/v1/stores/store-1/now", "read"),
        ("POST", "/api/v1/seal", "operate"),
        ("POST", "/api/v1/clock/accept", "operate"),
        ("POST", "/api/v1/stores/store-1/retire", "operate"),
    ];
    let http = reqwest::Client::new();
    let ask = async |method: &str, path: &str, key: Option<&str>| {
        let url = format!("{}{path}", server.admin_url());
        let mut request = http.request(method.parse().unwrap(), url);
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        if method == "POST" {
            request = request
                .header("content-type", "application/json")
                .body("{}");
        }
        request.send().await.unwrap()
    };
    for (method, path, needed) in routes {
        let nobody = ask(method, path, None).await;
        assert_eq!(nobody.status(), 401, "{path}");
        let schemes = nobody.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(
            schemes.contains("Basic") && schemes.contains("Bearer"),
            "{schemes}"
        );
        assert_eq!(
            ask(method, path, Some("tw_wrong")).await.status(),
            401,
            "{path}"
        );
        for (scope, key) in SCOPES.iter().zip(&keys) {
            let status = ask(method, path, Some(key)).await.status().as_u16();
            let expected = if *scope == needed { 200 } else { 403 };
            assert_eq!(status, expected, "{method} {path} with {scope}");
        }
    }
    let id = keys[1].split('_').nth(1).unwrap();
    let basic = http.get(format!("{}/api/v1/stores", server.admin_url()));
    let basic = basic.basic_auth(id, Some(keys[1].rsplit('_').next().unwrap()));
    assert_eq!(basic.send().await.unwrap().status(), 200);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask("GET", path, None).await.status(), 200, "{path}");
    }
    let page = server.metrics().await;
    let refused = |code| {
        page.value(
            "tillwatch_admin_credentials_refused_total",
            &[("code", code)],
        )
    };
    let count = f64::from(u32::try_from(routes.len()).unwrap());
    assert_eq!(refused("no_credential"), count);
    assert_eq!(refused("scope"), 2.0 * count);
    let log = std::fs::read_to_string(data(&server).join("audit_log.jsonl")).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let operator = format!("key {}", keys[2].split('_').nth(1).unwrap());
    let retired = lines
        .iter()
        .find(|line| line["act"] == "store.retire")
        .unwrap();
    assert_eq!(
        (retired["by"].as_str(), retired["about"]["store"].as_str()),
        (Some(&*operator), Some("store-1"))
    );
    let refusals = lines
        .iter()
        .filter(|line| line["outcome"] == "refused")
        .count();
    assert!(
        (1..=12).contains(&refusals),
        "a flood of refusals does not fill the log: {refusals}"
    );
    for key in &keys {
        assert!(!log.contains(key.rsplit('_').next().unwrap()));
    }
    server.stop().await;
}

#[tokio::test]
async fn commands_show_the_key_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let (server, [_, read, operate]) = start(folder.path()).await;
    server
        .taken(&Batch::new("store-1").value_now("lcp_ms", 1.0).0)
        .await;
    server.wait_applied().await;
    let file = |name: &str, key: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{key}\n")).unwrap();
        path.display().to_string()
    };
    let (read, operate) = (file("read", &read), file("operate", &operate));
    let url = server.admin_url();
    let command = async |name: &str, words: &[&str], key: Option<&str>| {
        let mut arguments: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        arguments.extend(["--admin-url".to_owned(), url.clone()]);
        if let Some(key) = key {
            arguments.extend(["--admin-key-file".to_owned(), key.to_owned()]);
        }
        said(&run(name, arguments).await)
    };
    let (is_good, text) = command("query", &["lcp_ms"], None).await;
    assert!(!is_good && text.contains("tillwatch key new"), "{text}");
    let (is_good, text) = command("query", &["lcp_ms"], Some(&read)).await;
    assert!(is_good && text.contains("0.95"), "{text}");
    let (is_good, text) = command("store", &["retire", "store-1"], Some(&read)).await;
    assert!(!is_good && text.contains("scope operate"), "{text}");
    let (is_good, text) = command("store", &["retire", "store-1"], Some(&operate)).await;
    assert!(is_good, "{text}");
    let (is_good, text) = command("clock", &["show"], Some(&read)).await;
    assert!(is_good, "{text}");
    server.stop().await;
}

#[tokio::test]
async fn a_fleet_is_compared_over_a_listener_that_asks() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let own = data(&server);
    let file = folder.path().join("compare.key").display().to_string();
    new_key(
        &own,
        &["--scope", "metrics", "--scope", "read", "--to", &file],
    )
    .await;
    let before = std::fs::read_to_string(&file).unwrap();
    new_key(&own, &["--scope", "metrics", "--to", &file]).await;
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        before,
        "a file that is there stays"
    );
    let arguments = [
        "--url",
        &server.ingest_url(),
        "--admin-url",
        &server.admin_url(),
        "--admin-key-file",
        &file,
        "--stores",
        "2",
        "--terminals",
        "4",
        "--rate",
        "120",
        "--duration",
        "3s",
        "--drain",
        "5s",
        "--quiet",
        "--json",
    ];
    let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
    let output = run("simulate", arguments).await;
    let (is_good, text) = said(&output);
    assert!(is_good, "{text}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["comparison"]["lost"], 0, "{text}");
    server.stop().await;
}

#[tokio::test]
async fn every_answer_bears_the_headers_of_the_surface_and_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let http = reqwest::Client::new();
    for (url, is_admin) in [
        (format!("{}/metrics", server.admin_url()), true),
        (format!("{}/nowhere", server.admin_url()), true),
        (format!("{}/healthz", server.ingest_url()), false),
        (format!("{}/v1/batches", server.ingest_url()), false),
    ] {
        let answer = http.get(&url).send().await.unwrap();
        let headers = answer.headers();
        let has = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(has("x-content-type-options"), Some("nosniff"), "{url}");
        assert!(
            has("content-security-policy")
                .unwrap()
                .contains("default-src 'none'")
        );
        assert_eq!(has("referrer-policy"), Some("no-referrer"));
        assert!(has("permissions-policy").is_some());
        assert_eq!(
            has("cache-control"),
            is_admin.then_some("no-store"),
            "{url}"
        );
        assert_eq!(
            (has("server"), has("strict-transport-security")),
            (None, None)
        );
    }
    server.stop().await;
}
