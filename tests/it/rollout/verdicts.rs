//! Good releases pass, slow and silent ones fail, and what was said stays said.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::shop::{NEW, OLD, Release, Shop, TERMINALS, WITH};
use crate::support::{Server, run, said};

/// The engine, the outbox and the rounds of the judge, on a machine that does other things.
const PATIENCE: Duration = Duration::from_secs(90);

async fn asked(server: &Server, parameters: &[(&str, &str)]) -> Value {
    let reply = server.get("/api/v1/rollouts/2.5.0", parameters).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// Waits until the collector has judged a look by itself, and one of these occasions was the last.
async fn judged(server: &Server, occasion: &str) -> Value {
    let started = Instant::now();
    loop {
        let answer = asked(server, &[]).await;
        let history = answer["history"].as_array().unwrap();
        if history
            .last()
            .is_some_and(|last| last["occasion"] == occasion)
        {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{answer:#}\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// `tillwatch rollout verdict`: its exit code, and all that it said.
async fn command(server: &Server, more: &[&str]) -> (Option<i32>, String) {
    let mut arguments = vec!["--admin-url".to_owned(), server.admin_url()];
    if more.first() != Some(&"check") {
        arguments.extend(["--release".to_owned(), NEW.to_owned()]);
    }
    arguments.splice(0..0, more.iter().map(|&word| word.to_owned()));
    let output = run("rollout", arguments).await;
    (output.status.code(), said(&output).1)
}

/// The script that stands before the next step of a deployment.
async fn gate(server: &Server, step: &str) -> Option<i32> {
    let script =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/rollout-gate/gate.sh");
    let mut gate = std::process::Command::new("sh");
    gate.arg(script)
        .args(["--release", NEW, "--step", step, "--wait", "1s"])
        .args(["--admin-url", &server.admin_url()])
        .env("TILLWATCH_PROGRAM", env!("CARGO_BIN_EXE_tillwatch"));
    let ended = tokio::task::spawn_blocking(move || gate.output().unwrap());
    ended.await.unwrap().status.code()
}

fn metric<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let metrics = answer["judged"]["metrics"].as_array().unwrap();
    metrics
        .iter()
        .find(|metric| metric["metric"] == name)
        .unwrap()
}

fn codes(answer: &Value) -> Vec<&str> {
    let reasons = answer["judged"]["reasons"].as_array().unwrap();
    reasons
        .iter()
        .map(|reason| reason["code"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_good_release_passes_after_a_day_and_late_data_revise_that_aloud() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_on(folder.path(), &[]).await;
    assert_eq!(command(&server, &["verdict"]).await.0, Some(12));
    let release = Release::default();
    let mut shop = Shop::new(1);
    shop.trade(&server, release).await;
    shop.settle(&server, release).await;
    let answer = judged(&server, "look").await;
    assert_eq!(answer["verdict"], "pass", "{answer:#}");
    assert_eq!(answer["look"]["look_hours"], 24);
    assert_eq!(answer["judged"]["against"], OLD);
    assert_eq!(answer["judged"]["stores"]["candidates"], 4);
    assert_eq!(answer["judged"]["stores"]["controls"], 12);
    let sync = metric(&answer, "sync_duration_ms");
    let bound = |name: &str| sync["worse"][name].as_f64().unwrap();
    assert!(bound("low") < 1.0 && bound("high") < 1.2, "{sync:#}");
    let (code, text) = command(&server, &["verdict"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.starts_with("PASS  2.5.0 against 2.4.1, step 25 %, look 24 h"),
        "{text}"
    );
    let own = server.metrics().await;
    let is_pass = [("release", NEW), ("step", "25"), ("verdict", "pass")];
    assert_eq!(own.sum("tillwatch_rollout_verdict", &is_pass), 1.0);

    // Whoever has just moved stores does not hear of the step before.
    let (code, text) = command(&server, &["verdict", "--step", "50"]).await;
    assert_eq!(code, Some(11), "{text}");
    assert!(text.contains("not known to have reached 50 %"), "{text}");
    assert_eq!(gate(&server, "25").await, Some(0));
    assert_eq!(gate(&server, "50").await, Some(11));
    let checked = server.get("/api/v1/rollout_check", &[]).await;
    assert_eq!(checked.status, 200, "{}", checked.text());
    let (code, text) = command(&server, &["check"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("held against 2.4.1, which 12 stores run"),
        "{text}"
    );

    // The terminals kept what they measured in the release's second day: everything took half as long again.
    let begins = shop.begins(release);
    for at in 0..WITH * TERMINALS {
        let hours = begins + 3..begins + 25;
        shop.post(&server, at, hours, (NEW, 3.0)).await;
    }
    shop.seal(&server).await;
    let revised = judged(&server, "revised").await;
    assert_eq!(revised["verdict"], "fail", "{revised:#}");
    assert_eq!(revised["revisions"], 1);
    let history = revised["history"].as_array().unwrap();
    assert_eq!(
        history[0], answer["history"][0],
        "the first word stays as it was"
    );
    assert_ne!(history[0]["inputs_hash"], history[1]["inputs_hash"]);
    let server = server.kill_and_restart().await;
    let again = asked(&server, &[]).await;
    assert_eq!(again["history"], revised["history"]);
    assert_eq!(command(&server, &["verdict"]).await.0, Some(10));
    let (code, text) = command(&server, &["history"]).await;
    assert_eq!((code, text.lines().count()), (Some(0), 3), "{text}");
    let started = Instant::now();
    loop {
        let own = server.metrics().await;
        if own.sum("tillwatch_rollout_revisions", &[("release", NEW)]) == 1.0 {
            let is_fail = [("release", NEW), ("verdict", "fail")];
            assert_eq!(own.sum("tillwatch_rollout_verdict", &is_fail), 1.0);
            assert!(own.sum("tillwatch_rollout_revised_timestamp_seconds", &[]) > 0.0);
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_slow_release_fails_within_hours() {
    let server = Server::start().await;
    let release = Release {
        hours_ago: 4,
        slower: 1.5,
        ..Release::default()
    };
    let mut shop = Shop::new(2);
    shop.trade(&server, release).await;
    shop.settle(&server, release).await;
    let answer = judged(&server, "look").await;
    assert_eq!(answer["verdict"], "fail", "{answer:#}");
    assert!(
        codes(&answer).iter().all(|code| *code == "worse"),
        "{answer:#}"
    );
    let (code, text) = command(&server, &["verdict", "--json"]).await;
    assert_eq!(code, Some(10));
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["history"], answer["history"]);
    // Held against a release that nobody runs, there is nothing to compare with.
    let other = asked(&server, &[("against", "1.0.0")]).await;
    assert_eq!(
        (&other["verdict"], &other["look"]),
        (&"hold".into(), &Value::Null)
    );
    assert!(codes(&other).contains(&"too_few_stores"), "{other:#}");
    for (parameters, expected) in [
        (&[("against", NEW)][..], "the release itself"),
        (&[("since", "yesterday")], "since"),
        (&[("step", "0")], "step must be"),
        (&[("steps", "10")], "steps"),
    ] {
        let reply = server.get("/api/v1/rollouts/2.5.0", parameters).await;
        assert_eq!(reply.status, 400);
        assert!(reply.text().contains(expected), "{}", reply.text());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_release_that_is_slow_in_one_store_does_not_pass() {
    let server = Server::start().await;
    let release = Release {
        slower_in_one: 3.0,
        ..Release::default()
    };
    let mut shop = Shop::new(3);
    shop.trade(&server, release).await;
    shop.settle(&server, release).await;
    let answer = judged(&server, "look").await;
    assert_eq!(answer["verdict"], "hold", "{answer:#}");
    assert!(codes(&answer).contains(&"single_stores"), "{answer:#}");
    assert_eq!(
        metric(&answer, "sync_duration_ms")["far"],
        serde_json::json!(["store-00"])
    );
    assert_eq!(command(&server, &["verdict"]).await.0, Some(11));
    server.stop().await;
}

#[tokio::test]
async fn a_release_on_which_terminals_fall_silent_fails_whether_all_do_or_half() {
    for silent in [1, TERMINALS - 1, TERMINALS] {
        let server = Server::start().await;
        let release = Release {
            silent,
            hours_ago: 7,
            ..Release::default()
        };
        let mut shop = Shop::new(4);
        shop.trade(&server, release).await;
        shop.settle(&server, release).await;
        let answer = judged(&server, "look").await;
        assert_eq!(answer["verdict"], "fail", "{answer:#}");
        assert!(codes(&answer).contains(&"silence"), "{answer:#}");
        let silent_ones = answer["judged"]["terminals"]["silent"].as_array().unwrap();
        assert_eq!(silent_ones.len(), silent * WITH, "{silent_ones:?}");
        server.stop().await;
    }
}

#[tokio::test]
async fn lost_data_fail_a_release_before_its_first_look() {
    let server = Server::start().await;
    let release = Release {
        hours_ago: 1,
        ..Release::default()
    };
    let mut shop = Shop::new(5);
    shop.trade(&server, release).await;
    shop.settle(&server, release).await;
    let started = Instant::now();
    while server
        .metrics()
        .await
        .sum("tillwatch_rollout_reason", &[("reason", "first_look")])
        != 1.0
    {
        assert!(started.elapsed() < PATIENCE, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let before = asked(&server, &[]).await;
    assert_eq!(
        (&before["verdict"], codes(&before)),
        (&"hold".into(), vec!["first_look"])
    );
    let lost = crate::support::Batch::new("store-01")
        .with("release", NEW)
        .value_now("data_loss_incidents", 1.0);
    server.taken(&lost.0).await;
    shop.seal(&server).await;
    let answer = judged(&server, "incident").await;
    assert_eq!(answer["history"][0]["occasion"], "step");
    assert_eq!(
        (&answer["verdict"], codes(&answer)),
        (&"fail".into(), vec!["incident"])
    );
    server.stop().await;
}
