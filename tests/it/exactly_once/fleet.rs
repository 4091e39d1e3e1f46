//! A simulated fleet with every bad habit: resends, hang-ups, late deliveries, wrong clocks, gzip.

use crate::support::{Server, audit_is_clean, data, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_resends_hangs_up_and_comes_late_is_found_again_exactly() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "500ms")]).await;
    let (ingest, admin) = (
        format!("http://{}", server.ingest),
        format!("http://{}", server.admin),
    );
    let arguments = [
        "--url",
        &ingest,
        "--admin-url",
        &admin,
        "--stores",
        "6",
        "--terminals",
        "24",
        "--rate",
        "6000",
        "--duration",
        "10s",
        "--resend-share",
        "0.3",
        "--late-share",
        "0.25",
        "--skew-share",
        "0.2",
        "--gzip",
        "--backoff-max",
        "1s",
        "--json",
        "--quiet",
    ];
    let output = run("simulate", arguments.map(str::to_owned).to_vec()).await;
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}\n{complained}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["is_good"], true, "{report}");
    server.wait_confirmed().await;
    let page = server.metrics().await;
    assert!(
        page.value("tillwatch_samples_total", &[("outcome", "duplicate")]) > 0.0,
        "nothing was sent twice"
    );
    audit_is_clean(&data(&server), &[]).await;
    server.stop().await;
}
