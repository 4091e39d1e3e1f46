//! The process: settings, listeners, health, start and end.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tillwatch::pipeline::ENGINE_NAMES;

use crate::support::{Batch, Server};

/// Runs to its end; fails when that does not come.
fn run(command: &mut Command) -> (Output, String) {
    let started = Instant::now();
    let output = command.output().unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{command:?} took {:?}",
        started.elapsed()
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("panicked"), "{text}");
    (output, text)
}

fn serve(folder: &std::path::Path) -> Command {
    let mut command = Server::command("serve");
    command.arg("--data-dir").arg(folder.join("data"));
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command
}

/// Asserts that a command fails and that what it says names all of these.
fn fails_and_says(command: &mut Command, words: &[&str]) {
    let (output, text) = run(command);
    assert!(!output.status.success(), "{command:?}: {text}");
    for word in words {
        assert!(
            text.contains(word),
            "{command:?} does not say {word:?}: {text}"
        );
    }
}

#[test]
fn a_setting_that_cannot_be_right_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tillwatch.toml");
    let path = file.to_str().unwrap();
    #[rustfmt::skip]
    let cases: [(&str, &[&str]); 9] = [
        ("log_level = \"verbose\"\n", &["log_level", "verbose", "is not a log level", "debug"]),
        ("# mine\n\nseal_intervall = \"10s\"\n", &["tillwatch.toml, line 3", "seal_intervall", "did you mean \"seal_interval\""]),
        ("seal_interval = \"often\"\n", &["line 1", "seal_interval", "is not a duration", "10s"]),
        ("journal_budget = \"4 gigs\"\n", &["line 1", "journal_budget"]),
        ("stores_max = -1\n", &["line 1", "stores_max"]),
        ("listen = [\n", &["line 1"]),
        ("listen = \"nowhere\"\n", &["line 1", "listen"]),
        ("admin_listen = \"0.0.0.0:0\"\n", &["admin_listen", "allow_unauthenticated"]),
        ("journal_segment = \"1MiB\"\n", &["journal_segment", "4MiB"]),
    ];
    for (text, words) in cases {
        std::fs::write(&file, text).unwrap();
        fails_and_says(Server::command("serve").args(["--config", path]), words);
        fails_and_says(Server::command("check-config").arg(path), words);
    }
    let missing = folder.path().join("none.toml");
    fails_and_says(
        Server::command("serve").arg("--config").arg(missing),
        &["none.toml"],
    );
    for (flag, value) in [
        ("--listen", "0.0.0.0:0"),
        ("--listen", "[::]:0"),
        ("--admin-listen", "0.0.0.0:0"),
    ] {
        let mut command = Server::command("serve");
        command
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args([flag, value]);
        fails_and_says(&mut command, &["loopback", "allow_unauthenticated"]);
    }
    fails_and_says(
        serve(folder.path()).arg("--seal-intervall=1s"),
        &["--seal-interval"],
    );
    fails_and_says(
        serve(folder.path()).env("TILLWATCH_SEAL_INTERVAL", "soon"),
        &["soon"],
    );
    assert!(!folder.path().join("data").exists(), "nothing was begun");

    std::fs::write(
        &file,
        "seal_interval = \"42s\"\ncors_origins = [\"https://pos.example.com\"]\n",
    )
    .unwrap();
    let (output, text) = run(Server::command("check-config").arg(path));
    assert!(output.status.success(), "{text}");
    for word in [
        "seal_interval",
        "42s",
        "https://pos.example.com",
        "outbox_budget",
        "days",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn every_command_explains_itself() {
    let (output, text) = run(Command::new(env!("CARGO_BIN_EXE_tillwatch")).arg("--help"));
    assert!(output.status.success());
    let commands = [
        "serve",
        "clickhouse",
        "migrate",
        "check-config",
        "query",
        "audit",
        "simulate",
    ];
    for command in commands {
        assert!(
            text.contains(&format!("  {command} ")),
            "{command} is not in {text}"
        );
    }
    for command in commands.iter().chain(&["journal", "sql"]) {
        let (output, text) = run(Server::command(command).arg("--help"));
        assert!(
            output.status.success() && text.contains("Usage:"),
            "{command}: {text}"
        );
    }
    for command in ["inspect", "verify"] {
        assert!(
            run(Server::command("journal").args([command, "--help"]))
                .0
                .status
                .success()
        );
    }
    let (_, text) = run(Server::command("serve").arg("--help"));
    // Where a line of the help is broken does not matter.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in [
        "--data-dir",
        "--listen",
        "--admin-listen",
        "--clickhouse-url",
        "--config",
        "TILLWATCH_SEAL_INTERVAL",
        "[default: 5m]",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(
        !run(&mut Command::new(env!("CARGO_BIN_EXE_tillwatch")))
            .0
            .status
            .success()
    );
}

#[tokio::test]
async fn what_is_missing_or_taken_is_said_clearly() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = serve(folder.path());
    command.env("TILLWATCH_LIBCHDB", "/nonexistent/libchdb.so");
    // The two ways out: get the library, or use a server.
    fails_and_says(
        &mut command,
        &["/nonexistent/libchdb.so", "npm", "clickhouse-url"],
    );

    let server = Server::start().await;
    for (flag, address) in [
        ("--listen", server.ingest),
        ("--admin-listen", server.admin),
    ] {
        let other = tempfile::tempdir().unwrap();
        let mut command = Server::command("serve");
        command.arg("--data-dir").arg(other.path().join("data"));
        let free = if flag == "--listen" {
            "--admin-listen"
        } else {
            "--listen"
        };
        command.args([flag, &address.to_string(), free, "127.0.0.1:0"]);
        fails_and_says(
            &mut command,
            &[
                &address.to_string(),
                &flag.trim_start_matches('-').replace('-', "_"),
                "in use",
            ],
        );
    }
    // One folder, one process.
    let mut command = serve(server.folder());
    fails_and_says(
        &mut command,
        &["is in use by process", &server.pid().to_string()],
    );
    assert_eq!(
        server
            .post(&Batch::new("still-there").filled(1).0)
            .await
            .status,
        202
    );

    // A folder that cannot be made.
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    fails_and_says(&mut serve(&file), &["file"]);
    server.stop().await;
}

#[tokio::test]
async fn it_says_when_it_is_ready_and_ends_without_losing_anything() {
    let server = Server::start().await;
    let line = server.ready_line.clone();
    assert_eq!(
        line,
        format!(
            "tillwatch ready ingest=http://{} admin=http://{}\n",
            server.ingest, server.admin
        )
    );
    assert!(server.ingest.port() != 0 && server.admin.port() != 0);
    for path in ["/healthz", "/readyz"] {
        let response = server
            .request(reqwest::Method::GET, path)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(
            server.get(path, &[]).await.status,
            200,
            "{path} on the admin listener"
        );
    }
    let batch = Batch::new("end").filled(5);
    assert_eq!(server.taken(&batch.0).await, (5, 0, 0));
    // A connection that is open and idle does not hold up the end.
    let _idle = server.raw().await;
    let server = server.restart().await;
    let found = |answer: serde_json::Value| answer["series"][0]["points"][0]["count"].clone();
    assert_eq!(found(server.percentiles(&[("metric", "lcp_ms")]).await), 5);
    assert_eq!(server.taken(&batch.0).await, (0, 5, 0));
    let page = server.metrics().await;
    assert_eq!(
        page.value("tillwatch_ledger_samples", &[("place", "accepted")]),
        5.0
    );
    let server = server.kill_and_restart().await;
    assert_eq!(found(server.percentiles(&[("metric", "lcp_ms")]).await), 5);
    server.stop().await;
}

/// A request that has begun when the end is asked for is answered; the process ends all the same.
#[tokio::test]
async fn a_request_under_way_at_the_end_is_answered() {
    let server = Server::start_with(&[("TILLWATCH_BODY_TIMEOUT", "3s")]).await;
    let text = Batch::new("last").filled(1).0.to_string();
    let mut raw = server.raw().await;
    raw.send(format!(
        "POST /v1/batches HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{}",
        text.len(),
        &text[..20]
    ))
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let rest = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        raw.send(&text[20..]).await;
        raw.answer(Duration::from_secs(10)).await
    });
    let stopping = Instant::now();
    tokio::task::spawn_blocking(|| tokio::runtime::Handle::current().block_on(server.stop()))
        .await
        .unwrap();
    assert!(stopping.elapsed() < Duration::from_secs(15));
    let (status, body) = rest.await.unwrap().unwrap();
    assert_eq!(status, 202, "{body}");
}

#[tokio::test]
async fn an_empty_variable_is_as_if_unset() {
    let others = ["TILLWATCH_CONFIG", "TILLWATCH_CLICKHOUSE_PASSWORD"];
    let settings = tillwatch::config::SETTINGS.iter();
    let variables = settings.map(|setting| setting.variable).chain(others);
    // The tests find the engine's library in their own way.
    let variables = variables.filter(|variable| *variable != ENGINE_NAMES.library_variable);
    let empty: Vec<(&str, &str)> = variables.map(|variable| (variable, "")).collect();
    assert!(empty.len() > 30);
    let mut environment = empty.clone();
    environment.push(("TILLWATCH_NO_SETTING", ""));
    let server = Server::start_with(&environment).await;
    assert_eq!(server.taken(&Batch::new("s").filled(1).0).await, (1, 0, 0));
    assert!(
        !server.log().contains("is not a setting"),
        "{}",
        server.log()
    );
    server.stop().await;

    // Also where another command takes it, with a default of its own.
    let mut command = Server::command("query");
    let (output, text) = run(command.arg("lcp_ms").env("TILLWATCH_ADMIN_URL", ""));
    assert!(
        !output.status.success() && text.contains("127.0.0.1:9090"),
        "{text}"
    );
    let mut command = Server::command("check-config");
    let (output, text) = run(command.envs(empty));
    assert!(output.status.success(), "{text}");
    // A flag that is empty is still wrong.
    let (output, text) = run(Server::command("serve").args(["--seal-interval", ""]));
    assert!(
        !output.status.success() && text.contains("--seal-interval"),
        "{text}"
    );
}
