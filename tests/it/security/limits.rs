//! Floods, spoofed addresses, backlogs.

use serde_json::Value;

use super::{batch, issue, outcome, refused, start, token};
use crate::support::{Batch, Reply, Server, hangup, now_ms};

async fn from(server: &Server, headers: &[(&str, &str)]) -> Reply {
    let mut request = server.request(reqwest::Method::GET, "/nowhere");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Reply::of(request.send().await.unwrap()).await
}

/// How many of so many requests with this header are let in.
async fn let_in(server: &Server, requests: usize, headers: &[(&str, &str)]) -> usize {
    let mut passed = 0;
    for _ in 0..requests {
        passed += usize::from(from(server, headers).await.status == 404);
    }
    passed
}

#[tokio::test]
async fn an_address_has_its_rate_and_a_client_cannot_choose_its_address() {
    const XFF: &str = "x-forwarded-for";
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("tillwatch.toml");
    let rate = |per_min: u32| {
        format!(
            "address_rate = \"{per_min}/min\"\ntrusted_proxies = \"127.0.0.0/8, 10.0.0.0/8\"\nexempt_networks = \"192.0.2.0/24\"\n"
        )
    };
    std::fs::write(&settings, rate(30)).unwrap();
    let path = settings.display().to_string();
    let environment = [("TILLWATCH_CONFIG", path.as_str())];
    let server = Server::start_on(folder.path(), &environment).await;
    let near = |passed: usize| (30..=34).contains(&passed);
    let passed = let_in(&server, 60, &[(XFF, "198.51.100.1")]).await;
    assert!(near(passed), "{passed}");
    let reply = from(&server, &[(XFF, "198.51.100.1")]).await;
    assert_eq!(outcome(&reply), refused(429, "rate_limited"));
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=9).contains(&wait), "{wait} s");
    // What stands before the last hop was written by the client.
    let mut spoofed = 0;
    for number in 0..20 {
        let hops = format!("203.0.113.{number}, 198.51.100.1");
        spoofed += let_in(&server, 1, &[(XFF, &hops)]).await;
    }
    assert!(spoofed <= 2, "{spoofed}");
    assert_eq!(
        let_in(&server, 5, &[(XFF, "198.51.100.2, 10.0.0.7")]).await,
        5
    );
    let v6 = let_in(&server, 40, &[(XFF, "2001:db8:1:2::1")]).await;
    let neighbour = let_in(
        &server,
        10,
        &[("forwarded", "for=\"[2001:db8:1:2::ffff]:1234\"")],
    )
    .await;
    assert!(
        near(v6) && neighbour <= 2,
        "one /64 is one client: {v6}, {neighbour}"
    );
    assert_eq!(
        let_in(&server, 60, &[(XFF, "192.0.2.9")]).await,
        60,
        "exempt"
    );
    // Two headers that differ count for the proxy, whose bucket is nobody else's.
    let both = [("forwarded", "for=203.0.113.1"), (XFF, "203.0.113.2")];
    assert!(near(let_in(&server, 60, &both).await));
    assert_eq!(let_in(&server, 3, &[(XFF, "203.0.113.2")]).await, 3);
    let page = server.metrics().await;
    let counted = page.sum("tillwatch_rate_limited_total", &[("limit", "address")]);
    assert!(counted > 60.0, "{counted}");
    std::fs::write(&settings, rate(6_000)).unwrap();
    hangup(server.pid());
    let started = now_ms();
    while let_in(&server, 1, &[(XFF, "198.51.100.1")]).await == 0 {
        assert!(now_ms() - started < 20_000, "not reloaded");
    }
    assert!(let_in(&server, 100, &[(XFF, "198.51.100.1")]).await >= 100);
    server.stop().await;
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    for address in ["198.51.100", "203.0.113", "2001:db8", "192.0.2.9"] {
        assert!(!log.contains(address), "an address was logged");
    }
}

async fn post_to(server: &Server, token: &str, query: &str, body: &Value) -> Reply {
    let request = server.request(reqwest::Method::POST, &format!("/v1/batches{query}"));
    let request = request.bearer_auth(token).json(body);
    Reply::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_backlog_has_a_bucket_of_its_own_and_a_false_one_is_live() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let own = folder.path().join("data");
    let of_till = issue(&own, &["--store", "store-1", "--terminal", "till-1"]).await;
    let old = |seq: u64| {
        let t_ms = now_ms() - 3 * 86_400_000;
        Batch::new("store-1").seq(seq).value("lcp_ms", t_ms, 1.0)
    };
    for seq in 0..30 {
        let body = old(seq);
        let reply = post_to(&server, &of_till, "?store=store-1&class=backlog", &body.0).await;
        assert_eq!(reply.status, 202, "{}", reply.text());
    }
    let page = server.metrics().await;
    assert_eq!(page.value("tillwatch_false_backlog_total", &[]), 0.0);
    // Live samples under a false name use up the live bucket of 60.
    let mut limited = 0;
    for seq in 0..70_u64 {
        let body = batch("store-1", "till-1").seq(seq);
        let reply = post_to(&server, &of_till, "?class=backlog", &body.0).await;
        limited += usize::from(reply.status == 429);
    }
    let page = server.metrics().await;
    assert!(page.value("tillwatch_false_backlog_total", &[]) >= 30.0);
    let live = post_to(&server, &of_till, "", &batch("store-1", "till-1").0).await;
    assert!(limited > 0 || live.status == 202, "{limited}");
    server.stop().await;
}

#[tokio::test]
async fn a_store_has_its_rate_and_what_is_set_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("data");
    token(&["key", "new"], &own, &[]).await;
    let environment = [
        ("TILLWATCH_AUTH", "required"),
        ("TILLWATCH_STORE_RATE", "20/min"),
        ("TILLWATCH_STORE_RATE_PER_TERMINAL", "2/min"),
        ("TILLWATCH_STORE_RATES", "store-2=off, store-3=0.1/s"),
    ];
    let server = Server::start_on(folder.path(), &environment).await;
    let passed = async |store: &str, terminals: u32| {
        let token = issue(&own, &["--store", store]).await;
        let mut passed = 0;
        for number in 0..60 {
            let body = batch(store, &format!("till-{}", number % terminals));
            passed += u32::from(post_to(&server, &token, "", &body.0).await.status == 202);
        }
        passed
    };
    let few = passed("store-1", 2).await;
    assert!((20..=22).contains(&few), "{few}");
    // Each terminal that is known raises the rate of its store: 2 a minute for each of 30 is more than 20.
    let many = passed("store-4", 30).await;
    assert!((24..=32).contains(&many), "{many}");
    assert_eq!(passed("store-2", 1).await, 60);
    let rare = passed("store-3", 1).await;
    assert!((6..=8).contains(&rare), "{rare}");
    let page = server.metrics().await;
    let counted = |store| {
        page.sum(
            "tillwatch_rate_limited_total",
            &[("limit", "store"), ("store_id", store)],
        )
    };
    assert!(counted("store-1") > 30.0 && counted("store-2") == 0.0);
    server.stop().await;
}

#[tokio::test]
async fn a_preflight_of_an_unknown_origin_is_refused_and_counted() {
    let server = Server::start_with(&[
        ("TILLWATCH_CORS_ORIGINS", "https://pos.example.com"),
        ("TILLWATCH_ADDRESS_RATE", "30/min"),
        ("TILLWATCH_EXEMPT_NETWORKS", "none"),
    ])
    .await;
    let preflight = async |origin: &str| {
        let request = server.request(reqwest::Method::OPTIONS, "/v1/batches");
        let request = request
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,x-api-key");
        Reply::of(request.send().await.unwrap()).await
    };
    let good = preflight("https://pos.example.com").await;
    assert_eq!(good.status, 200);
    let allowed = good.header("access-control-allow-headers").to_owned();
    assert!(
        allowed.contains("authorization") && allowed.contains("x-api-key"),
        "{allowed}"
    );
    let bad = preflight("https://evil.example.com").await;
    assert_eq!(outcome(&bad), refused(403, "origin_not_allowed"));
    assert_eq!(bad.header("access-control-allow-origin"), "");
    let mut limited = 0;
    for _ in 0..60 {
        limited += u32::from(preflight("https://evil.example.com").await.status == 429);
    }
    assert!(limited >= 25, "{limited}");
    let page = server.metrics().await;
    let counted = |code| page.value("tillwatch_requests_refused_total", &[("code", code)]);
    assert!(counted("origin_not_allowed") >= 1.0 && counted("rate_limited") >= 25.0);
    server.stop().await;
}
