//! Scenarios of the simulator: each starts the real program, and says what it expected and found.

use serde_json::Value;

use crate::support::{Server, run};

/// What depends on how busy the tester's machine is.
const TIMING: &str = "p95 from the moment";

/// Runs a scenario; whether it was good, and its report.
async fn play(name: &str, more: &[&str]) -> (bool, Value) {
    let mut arguments = vec!["--scenario", name, "--json", "--quiet"];
    arguments.extend(more);
    let arguments = arguments.into_iter().map(str::to_owned).collect();
    let output = run("simulate", arguments).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{name}: {error}: {said}"));
    (output.status.success(), report)
}

/// Runs a scenario whose expectations must be met, those about time apart.
async fn is_met(name: &str, more: &[&str]) -> Value {
    let (_, report) = play(name, more).await;
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.len() > 1, "{name}: {report}");
    for finding in findings {
        let is_timing = finding["expected"].as_str().unwrap().starts_with(TIMING);
        assert!(is_timing || finding["is_met"] == true, "{name}: {finding}");
    }
    report
}

#[tokio::test]
async fn a_day_of_trade_lands_in_its_hours() {
    let report = is_met(
        "trade",
        &["--stores", "3", "--terminals", "6", "--speed", "8640"],
    )
    .await;
    // Twelve hours of six terminals, a batch a minute; three stores open up to 14 minutes late.
    let made = report["counts"]["batches_made"].as_u64().unwrap();
    assert!((4_150..=4_320).contains(&made), "{made}");
}

#[tokio::test]
async fn a_week_offline_lands_in_its_hours_and_moves_nothing_live() {
    let report = is_met(
        "offline-week",
        &[
            "--stores",
            "2",
            "--terminals",
            "4",
            "--duration",
            "8s",
            "--rate",
            "240",
        ],
    )
    .await;
    assert_eq!(report["caught_up_times"]["count"], 2, "{report}");
}

#[tokio::test]
async fn a_slow_release_shows() {
    let more = [
        "--stores",
        "12",
        "--terminals",
        "48",
        "--duration",
        "12s",
        "--rate",
        "4800",
    ];
    is_met("canary", &more).await;
}

#[tokio::test]
async fn wrong_clocks_are_corrected_or_rejected_and_counted() {
    let more = [
        "--stores",
        "5",
        "--terminals",
        "40",
        "--duration",
        "8s",
        "--rate",
        "1200",
    ];
    let report = is_met("wrong-clock", &more).await;
    assert!(report["counts"]["answered_rejected"].as_u64() > Some(0));
}

#[tokio::test]
async fn a_hostile_terminal_is_refused_and_harms_nobody() {
    let more = ["--stores", "4", "--terminals", "20", "--duration", "8s"];
    is_met("hostile", &more).await;
}

#[tokio::test]
async fn clickhouse_may_be_slow_or_away() {
    for name in ["clickhouse-slow", "clickhouse-away"] {
        let more = [
            "--stores",
            "4",
            "--terminals",
            "20",
            "--duration",
            "18s",
            "--rate",
            "600",
        ];
        is_met(name, &more).await;
    }
}

#[tokio::test]
async fn a_storm_is_delivered() {
    let more = [
        "--stores",
        "5",
        "--terminals",
        "20",
        "--connections",
        "20",
        "--duration",
        "5s",
    ];
    let report = is_met("storm", &more).await;
    assert_eq!(report["first_answer_times"]["count"], 20, "{report}");
    assert_eq!(report["caught_up_times"]["count"], 20, "{report}");
}

#[tokio::test]
async fn a_day_on_disk_is_measured_and_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("load.md");
    std::fs::write(
        &page,
        "# Load\n\n<!-- begin disk -->\nold\n<!-- end disk -->\n\nrest\n",
    )
    .unwrap();
    let more = [
        "--stores",
        "2",
        "--terminals",
        "4",
        "--duration",
        "2h",
        "--speed",
        "720",
        "--report",
        page.to_str().unwrap(),
    ];
    is_met("disk", &more).await;
    let text = std::fs::read_to_string(&page).unwrap();
    for part in [
        "# Load",
        "rest\n",
        "| table `rollup_1m` ",
        "| outbox while ClickHouse is away ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("old\n"), "{text}");
}

/// Without what a scenario is about, it is not good: an expectation that nothing put to the test is not
/// met.
#[tokio::test]
async fn what_was_not_put_to_the_test_is_not_met() {
    let short = [
        "--stores",
        "2",
        "--terminals",
        "4",
        "--duration",
        "3s",
        "--rate",
        "240",
    ];
    let cases: [(&str, [&str; 2], &str); 2] = [
        ("offline-week", ["--offline-stores", "0"], "kept offline"),
        ("wrong-clock", ["--skew-share", "0"], "cannot be corrected"),
    ];
    for (name, without, expectation) in cases {
        let (is_good, report) = play(name, &[&short[..], &without].concat()).await;
        let faults = report["faults"].to_string();
        assert!(!is_good && faults.contains(expectation), "{name}: {faults}");
    }
}

/// As `make run` does it, again and again on one data folder.
#[tokio::test]
async fn a_fleet_goes_on_with_its_queues() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queues.json");
    let url = format!("http://{}", server.ingest);
    for round in 1..=3_u32 {
        let line = [
            "--url",
            &url,
            "--queues",
            file.to_str().unwrap(),
            "--quiet",
            "--stores",
            "2",
            "--terminals",
            "6",
            "--batches",
            "12",
            "--rate",
            "2400",
            "--late-share",
            "0",
            "--resend-share",
            "0",
        ];
        let output = run("simulate", line.map(str::to_owned).to_vec()).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "round {round}: {said}");
        let page = server.metrics().await;
        let accepted = page.value("tillwatch_samples_total", &[("outcome", "accepted")]);
        // Nothing was taken for a duplicate, nothing is missing, no queue was begun.
        assert_eq!(
            accepted,
            f64::from(round * 12 * 40),
            "round {round}: {said}"
        );
        assert_eq!(page.value("tillwatch_queues", &[]), 6.0, "round {round}");
        assert_eq!(
            page.value("tillwatch_missing_batches", &[]),
            0.0,
            "round {round}"
        );
    }
    server.stop().await;
}
