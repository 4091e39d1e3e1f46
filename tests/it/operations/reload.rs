//! Settings change on SIGHUP; an error in them changes nothing.

use crate::support::{Batch, Server, hangup, run, said, wait_sealed, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_settings_are_taken_on_sighup_and_bad_ones_are_refused_loudly() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tillwatch.toml");
    std::fs::write(&file, "seal_interval = \"1h\"\nstores_max = 100\n").unwrap();
    let server = Server::start_with(&[("TILLWATCH_CONFIG", file.to_str().unwrap())]).await;
    let reloads = async |result: &str| {
        let page = server.metrics().await;
        let success = page.value("tillwatch_config_last_reload_success", &[]);
        (
            page.value("tillwatch_config_reloads_total", &[("result", result)]),
            success,
        )
    };
    let until_reloaded = async |result: &str, times: f64| {
        let started = std::time::Instant::now();
        while reloads(result).await.0 < times {
            assert!(started.elapsed().as_secs() < 30, "{}", server.log());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let preflight = async || {
        let request = server
            .request(reqwest::Method::OPTIONS, "/v1/batches")
            .header("origin", "https://pos.example.com")
            .header("access-control-request-method", "POST");
        let answer = request.send().await.unwrap();
        answer.headers().contains_key("access-control-allow-origin")
    };
    assert_eq!(reloads("ok").await, (0.0, 1.0));
    assert!(!preflight().await);
    server.taken(&Batch::new("a").filled(3).0).await;

    std::fs::write(
        &file,
        "seal_interval = \"200ms\"\nstores_max = 200\ncors_origins = [\"https://pos.example.com\"]\n\
         log_level = \"info,tillwatch=debug\"\nstore_requests_per_s = 1\nstore_burst = 2\nsamples_max = 10\n",
    )
    .unwrap();
    hangup(server.pid());
    until_reloaded("ok", 1.0).await;
    assert!(preflight().await);
    wait_sealed(&server).await;
    let log = server.log();
    assert!(
        log.contains("wait for a restart") && log.contains("stores_max"),
        "{log}"
    );
    wait_until("a line of level debug", || {
        server.log().contains("DEBUG").then_some(())
    })
    .await;
    assert_eq!(server.post(&Batch::new("b").filled(11).0).await.status, 413);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(server.post(&Batch::new("c").filled(1).0).await.status);
    }
    assert!(
        statuses.starts_with(&[202, 202]) && statuses.contains(&429),
        "{statuses:?}"
    );

    // Each of these is wrong; what runs stays, and is said to.
    for (times, bad, word) in [
        (
            1.0,
            "seal_intervall = \"1h\"\n",
            "did you mean \\\"seal_interval\\\"",
        ),
        (
            2.0,
            "\n\nstore_burst = 0\n",
            "line 3: store_burst: must be between 1 and",
        ),
        (3.0, "seal_interval = [\n", "line 1"),
        (
            4.0,
            "cors_origins = \"https://pos.example.com/\"\n",
            "write https://pos.example.com",
        ),
    ] {
        std::fs::write(&file, bad).unwrap();
        hangup(server.pid());
        until_reloaded("error", times).await;
        assert_eq!(reloads("error").await.1, 0.0, "{bad}");
        let log = server.log().replace('"', "\\\"");
        let log = log.replace("\\\\\"", "\\\"");
        assert!(log.contains("ERROR") && log.contains(word), "{word}: {log}");
        assert!(preflight().await, "{bad}");
        let (is_good, output) = said(&run("check-config", vec![file.display().to_string()]).await);
        assert!(!is_good, "{bad}: {output}");
    }
    std::fs::remove_file(&file).unwrap();
    hangup(server.pid());
    until_reloaded("error", 5.0).await;

    // Corrected, it is taken again.
    std::fs::write(&file, "seal_interval = \"1h\"\n").unwrap();
    hangup(server.pid());
    until_reloaded("ok", 2.0).await;
    assert_eq!(reloads("ok").await.1, 1.0);
    assert!(!preflight().await);
    server.stop().await;
}
