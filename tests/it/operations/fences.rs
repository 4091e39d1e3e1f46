//! What keeps strangers out: names of the admin listener, what SQL reaches, modes of files.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::support::{Batch, Raw, Server, data, hangup, run, said, sql, wait_drained, wait_until};

/// One request to the admin listener as it stands there, and its status and body.
async fn ask(server: &Server, request: &str) -> (u16, String) {
    let mut raw = Raw::connect(server.admin).await;
    raw.send(request.replace('\n', "\r\n")).await;
    raw.answer(Duration::from_secs(10)).await.unwrap()
}

/// Whoever makes a browser ask by a name of his own, which his DNS leads here, gets nothing and changes
/// nothing; who asks by an address, by localhost or by a name that was listed is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_listener_answers_only_by_names_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tillwatch.toml");
    std::fs::write(&file, "admin_hosts = [\"TillWatch\"]\n").unwrap();
    let server = Server::start_with(&[("TILLWATCH_CONFIG", file.to_str().unwrap())]).await;
    server.taken(&Batch::new("kept").filled(3).0).await;
    server.wait_applied().await;

    let evil = "Host: evil.example:9090\nOrigin: http://evil.example:9090\n";
    let json = "Content-Type: application/json\nContent-Length: 2\n";
    for (line, headers, body) in [
        ("GET /metrics", "", ""),
        ("GET /metrics/fleet", "", ""),
        ("GET /api/v1/stores", "", ""),
        ("GET /api/v1/terminals?store_id=kept&hours=0", "", ""),
        ("GET /nothing", "", ""),
        ("POST /api/v1/seal", json, "{}"),
        ("POST /api/v1/stores/kept/retire", json, "{}"),
    ] {
        let (status, text) = ask(
            &server,
            &format!("{line} HTTP/1.1\n{evil}{headers}\n{body}"),
        )
        .await;
        assert_eq!(status, 421, "{line}: {text}");
        assert!(
            text.contains("host_not_allowed") && text.contains("admin_hosts"),
            "{text}"
        );
    }
    let stores = "GET /api/v1/stores HTTP/1.1\n";
    let port = server.admin.port();
    for (request, expected) in [
        (format!("{stores}Host: localhost.\n\n"), 200),
        (format!("{stores}Host: tillwatch:{port}\n\n"), 200),
        (format!("{stores}Host: [::1]:{port}\n\n"), 200),
        (
            format!("{stores}Host: 10.0.0.1\nOrigin: http://10.0.0.1\n\n"),
            200,
        ),
        ("GET /api/v1/stores HTTP/1.0\n\n".to_owned(), 200),
        (format!("{stores}\n"), 400),
        (format!("{stores}Host: localhost\nHost: localhost\n\n"), 400),
        (format!("{stores}Host: evil@localhost\n\n"), 400),
        (format!("{stores}Host: localhost\nOrigin: null\n\n"), 403),
        (
            format!("{stores}Host: localhost\nOrigin: https://localhost\n\n"),
            403,
        ),
        (
            "GET http://evil.example/api/v1/stores HTTP/1.1\nHost: localhost\n\n".to_owned(),
            421,
        ),
        (
            "GET /healthz HTTP/1.1\nHost: a-pod.example\n\n".to_owned(),
            200,
        ),
        (
            "GET /readyz HTTP/1.1\nHost: a-pod.example\n\n".to_owned(),
            200,
        ),
    ] {
        let (status, text) = ask(&server, &request).await;
        assert_eq!(status, expected, "{request}: {text}");
    }
    let page = server.metrics().await;
    let refused = |reason| {
        page.value(
            "tillwatch_admin_requests_refused_total",
            &[("reason", reason)],
        )
    };
    let reasons = ["host_not_allowed", "invalid_host", "foreign_origin"];
    assert_eq!(reasons.map(refused), [8.0, 3.0, 2.0]);
    let log = server.log();
    assert!(log.contains("host=\"evil.example\""), "{log}");
    assert!(!log.contains("retired a store"), "{log}");

    std::fs::write(&file, "admin_hosts = [\"other\"]\n").unwrap();
    hangup(server.pid());
    wait_until("the reload", || {
        server.log().contains("reloaded the settings").then_some(())
    })
    .await;
    for (name, expected) in [("other", 200), ("tillwatch", 421)] {
        let (status, text) = ask(&server, &format!("{stores}Host: {name}\n\n")).await;
        assert_eq!(status, expected, "{name}: {text}");
    }
    server.stop().await;
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A folder that was made by hand is open to all, as are files of an earlier release.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_this_user_reads_what_is_kept_whoever_made_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("data");
    std::fs::create_dir_all(kept.join("journal")).unwrap();
    let endpoint = kept.join("clickhouse.endpoint");
    std::fs::write(&endpoint, "").unwrap();
    for (path, as_made) in [
        (&kept, 0o755),
        (&kept.join("journal"), 0o755),
        (&endpoint, 0o644),
    ] {
        std::fs::set_permissions(path, Permissions::from_mode(as_made)).unwrap();
    }
    let server = Server::start_on(folder.path(), &[("TILLWATCH_SEAL_INTERVAL", "200ms")]).await;
    server
        .taken(&Batch::new("kept").filled(3).with("session_id", "s-1").0)
        .await;
    server.wait_confirmed().await;
    let log = server.log();
    assert!(
        log.contains("now only this user can") && log.contains("clickhouse.endpoint"),
        "{log}"
    );
    let mut seen = 0;
    let mut folders = vec![kept.clone(), kept.join("journal")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let expected = if entry.file_type().unwrap().is_dir() {
                0o700
            } else {
                0o600
            };
            assert_eq!(mode(&entry.path()), expected, "{}", entry.path().display());
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen}");
    // Readable, and no more: who made it so may have had a reason.
    assert_eq!(mode(&kept), 0o755);

    let backup = folder.path().join("backup");
    let words = [
        backup.display().to_string(),
        "--data-dir".to_owned(),
        kept.display().to_string(),
        "--admin-url".to_owned(),
        format!("http://{}", server.admin),
    ];
    let (is_good, text) = said(&run("backup", words.to_vec()).await);
    assert!(is_good, "{text}");
    assert_eq!(mode(&backup), 0o700);
    for entry in std::fs::read_dir(&backup).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    server.stop().await;
}

/// Through the program as an operator calls it; `tests/it_embedded` tries many more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_reaches_tables_and_no_file_or_address() {
    let server = Server::start_with(&[("TILLWATCH_SEAL_INTERVAL", "200ms")]).await;
    server.taken(&Batch::new("first").filled(1).0).await;
    wait_drained(&server).await;
    let data = data(&server);
    assert_eq!(sql(&data, "SELECT 1").await, "1\n");
    let state = data.join("state.sqlite");
    let out = server.folder().join("out");
    for statement in [
        format!("SELECT length(file('{}'))", state.display()),
        format!("SELECT * FROM file('{}', 'LineAsString')", state.display()),
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')".to_owned(),
        format!(
            "KILL QUERY WHERE 0 = 1 INTO OUTFILE '{}' FORMAT TSV",
            out.display()
        ),
    ] {
        let words = vec![
            statement.clone(),
            "--data-dir".to_owned(),
            data.display().to_string(),
        ];
        let (is_good, text) = said(&run("sql", words).await);
        assert!(!is_good, "{statement}: {text}");
    }
    assert!(!out.exists());
    server.stop().await;
}
