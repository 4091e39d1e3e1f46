//! What is drawn and completed in a shell.

use crate::support::{Batch, Server, now_ms, run, said};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_draws_its_windows_and_shows_gaps() {
    let server = Server::start().await;
    let now = now_ms();
    let hour = 3_600_000;
    // Three hours ago low, one hour ago high, nothing between.
    let batch = Batch::new("a")
        .value("lcp_ms", now - 3 * hour, 100.0)
        .value("lcp_ms", now - hour, 900.0);
    assert_eq!(server.taken(&batch.0).await, (2, 0, 0));
    let admin = format!("http://{}", server.admin);
    let query = async |more: &[&str]| {
        let mut arguments = vec![
            "lcp_ms",
            "--admin-url",
            &admin,
            "--from",
            "4h",
            "--step",
            "1h",
        ];
        arguments.extend(["--group-by", "store_id", "--q", "0.5,0.95"]);
        arguments.extend(more);
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        let (is_good, output) = said(&run("query", arguments).await);
        assert!(is_good, "{output}");
        output
    };
    let drawn = query(&["--sparkline"]).await;
    assert!(
        drawn.contains("·▁·█·") && drawn.contains("greatest"),
        "{drawn}"
    );
    let plain = query(&["--sparkline", "--ascii"]).await;
    assert!(plain.contains("_._#_") && !plain.contains('▁'), "{plain}");
    // Into a pipe only the table goes, unless it is asked for.
    assert!(!query(&[]).await.contains("greatest"));
    // The first of the series alone; what the collector refuses is said.
    let quick = Batch::new("quick").value("lcp_ms", now - hour, 50.0);
    server.taken(&quick.0).await;
    assert!(query(&[]).await.contains("quick"));
    let first = query(&["--order-by", "0.95", "--limit", "1"]).await;
    assert!(!first.contains("quick"), "{first}");
    let arguments = ["lcp_ms", "--admin-url", &admin, "--limit", "1"];
    let arguments = arguments.map(str::to_owned).to_vec();
    let (is_good, output) = said(&run("query", arguments).await);
    assert!(
        !is_good && output.contains("limit needs order_by"),
        "{output}"
    );
    server.stop().await;
}

#[tokio::test]
async fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (is_good, output) = said(&run("completions", vec![shell.to_owned()]).await);
        assert!(is_good, "{shell}: {output}");
        for word in ["tillwatch", "retire", "restore", "seal-interval"] {
            assert!(output.contains(word), "{shell}: {word}");
        }
    }
}
