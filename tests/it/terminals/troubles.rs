//! What the simulator plays in a real collector: who loses what, which error is new, and that nothing else is claimed.

use serde_json::Value;

use crate::support::{Server, audit_is_clean, data, run};

/// Runs a fleet; whether it was good, and its report.
async fn fleet(server: &Server, more: &[&str]) -> Value {
    let (ingest, admin) = (
        format!("http://{}", server.ingest),
        format!("http://{}", server.admin),
    );
    let usual = [
        "--url",
        &ingest,
        "--admin-url",
        &admin,
        "--stores",
        "6",
        "--terminals",
        "24",
        "--duration",
        "8s",
        // A batch of each terminal a quarter of a second.
        "--rate",
        "5760",
        "--backoff-max",
        "1s",
        "--json",
        "--quiet",
    ];
    let arguments = usual.iter().chain(more).map(|word| (*word).to_owned());
    let output = run("simulate", arguments.collect()).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {said}\n{}", server.log()));
    assert!(output.status.success(), "{report:#}");
    report
}

/// Right, false, missed and not judged claims of a kind of trouble.
fn claims(report: &Value, kind: &str) -> [u64; 4] {
    let kinds = report["claims"]["kinds"].as_array().unwrap();
    let judged = kinds.iter().find(|judged| judged["kind"] == kind).unwrap();
    ["right", "false", "missed", "not_judged"].map(|key| judged[key].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losses_new_errors_and_stuck_tills_are_claimed_as_they_are_and_nothing_else() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "1s")]).await;
    // Nothing is wrong but what always is: requests are sent twice, terminals come late, clocks are off.
    let calm = fleet(&server, &["--store-prefix", "calm-", "--late-share", "0.2"]).await;
    for kind in ["dead-till", "stuck", "lost", "new-error"] {
        assert_eq!(claims(&calm, kind), [0; 4], "{kind}: {calm:#}");
    }
    let more = [
        "--trouble",
        "lost:2,lost:3",
        "--trouble",
        "new-error:4@2s",
        "--trouble",
        "stuck:5",
        "--trouble",
        "dead-till:6@5s",
        "--late-share",
        "0.1",
        "--gzip",
    ];
    let report = fleet(&server, &more).await;
    let truth = &report["truth"];
    let losses = truth["losses"].as_array().unwrap();
    for fate in ["explained", "unexplained", "late"] {
        assert!(
            losses.iter().any(|loss| loss["fate"] == fate),
            "{fate}: {truth:#}"
        );
    }
    let [right, false_ones, missed, _] = claims(&report, "lost");
    assert!(right > 3 && (false_ones, missed) == (0, 0), "{report:#}");
    assert_eq!(claims(&report, "new-error"), [1, 0, 0, 0], "{report:#}");
    assert!(
        truth["new_errors"][0]["stores"].as_array().unwrap().len() > 1,
        "{truth:#}"
    );
    assert_eq!(claims(&report, "stuck"), [1, 0, 0, 0], "{report:#}");
    assert_eq!(truth["stuck_tills"][0]["terminal_id"], "till-2");
    // A till that has just died is no silent one yet.
    assert_eq!(claims(&report, "dead-till"), [0, 0, 0, 1], "{report:#}");
    server.wait_confirmed().await;
    audit_is_clean(&data(&server), &[]).await;
    server.stop().await;
}
