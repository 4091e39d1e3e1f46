//! HTTPS on both listeners, and towards ClickHouse as its Cloud speaks it.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::new_key;
use crate::support::{Batch, Engine, Server, audit_is_clean, data, now_ms};

/// A certificate of this machine and its key, in files.
fn certificate(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]);
    let made = made.unwrap();
    let paths = ["crt", "key"].map(|end| folder.join(format!("{name}.{end}")));
    std::fs::write(&paths[0], made.cert.pem()).unwrap();
    std::fs::write(&paths[1], made.signing_key.serialize_pem()).unwrap();
    let [certificate, key] = paths;
    (certificate, key)
}

#[tokio::test]
async fn both_listeners_speak_https_and_nothing_else_and_take_other_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate_path, key) = certificate(folder.path(), "first");
    let text = |path: &PathBuf| path.display().to_string();
    let environment = [
        ("TILLWATCH_TLS_CERTIFICATE", text(&certificate_path)),
        ("TILLWATCH_TLS_KEY", text(&key)),
        ("TILLWATCH_ADMIN_TLS_CERTIFICATE", text(&certificate_path)),
        ("TILLWATCH_ADMIN_TLS_KEY", text(&key)),
        ("TILLWATCH_ADMIN_AUTH", "required".to_owned()),
    ];
    let environment = environment
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let mut server = Server::start_on(folder.path(), &environment).await;
    server.show(&new_key(&data(&server), &["--scope", "metrics", "--scope", "read"]).await);
    assert!(
        server.ready_line.contains("ingest=https://"),
        "{}",
        server.ready_line
    );
    let reply = server
        .post(&Batch::new("store-1").value_now("lcp_ms", 1.0).0)
        .await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(
        reply.header("strict-transport-security"),
        "max-age=31536000"
    );
    let page = server.get("/metrics", &[]).await;
    assert_eq!(page.header("strict-transport-security"), "max-age=31536000");

    let mut plain = TcpStream::connect(server.ingest).await.unwrap();
    plain
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n")
        .await
        .unwrap();
    let mut heard = String::new();
    plain.read_to_string(&mut heard).await.unwrap();
    assert!(
        heard.starts_with("HTTP/1.1 400") && heard.contains("HTTPS"),
        "{heard}"
    );
    // Half a handshake goes after the time that a head has, and holds nobody up meanwhile.
    let mut half = TcpStream::connect(server.ingest).await.unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    assert_eq!(server.post(&Batch::new("store-1").0).await.status, 202);
    let ended = tokio::time::timeout(Duration::from_secs(20), half.read(&mut [0; 64])).await;
    assert!(ended.is_ok(), "half a handshake stays");

    // Other files in their place: whoever trusts only those is served.
    let (next, next_key) = certificate(folder.path(), "next");
    std::fs::rename(&next_key, &key).unwrap();
    std::fs::copy(&next, &certificate_path).unwrap();
    let root = reqwest::Certificate::from_pem(&std::fs::read(&next).unwrap()).unwrap();
    let http = || {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([root.clone()]);
        client.build().unwrap()
    };
    let url = format!("{}/healthz", server.ingest_url());
    let started = now_ms();
    while http().get(&url).send().await.is_err() {
        assert!(now_ms() - started < 20_000, "the certificate was not taken");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(server.log().contains("took another certificate"));
    server.stop().await;
}

/// A server that behaves as ClickHouse Cloud does, as far as its documentation says, before a real engine: HTTPS alone,
/// no settings about its disk, no clusters, inserts that are answered at once unless they ask not to be, and a while in
/// which it wakes up.
struct Cloud {
    url: String,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    asleep: AtomicUsize,
    refused: AtomicUsize,
    gathered: AtomicUsize,
    statements: AtomicUsize,
}

impl Cloud {
    async fn before(engine: &Engine, certificate: &Path, key: &Path) -> Self {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject as _;
        let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Seen::default());
        let (to, counts) = (engine.url(), Arc::clone(&seen));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, to, seen) = (acceptor.clone(), to.clone(), Arc::clone(&counts));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else {
                        return;
                    };
                    let service = hyper::service::service_fn(move |request| {
                        let (to, seen) = (to.clone(), Arc::clone(&seen));
                        async move { Ok::<_, Infallible>(answer(request, &to, &seen).await) }
                    });
                    let builder = hyper::server::conn::http1::Builder::new();
                    let _gone = builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { url, seen }
    }
}

async fn answer(request: Request<Incoming>, to: &str, seen: &Seen) -> Response<Full<Bytes>> {
    let refuse = |status: u16, text: &str| {
        let body = Full::new(Bytes::from(text.to_owned()));
        Response::builder().status(status).body(body).unwrap()
    };
    if seen.statements.fetch_add(1, Ordering::Relaxed) < 3 {
        seen.asleep.fetch_add(1, Ordering::Relaxed);
        return refuse(503, "Code: 439. DB::Exception: the service is waking up");
    }
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let path = parts.uri.path_and_query().unwrap().as_str().to_owned();
    let text = String::from_utf8_lossy(&body).into_owned();
    let asked = format!("{path} {text}");
    for word in ["fsync_after_insert", "fsync_part_directory", "ON CLUSTER"] {
        if asked.contains(word) {
            seen.refused.fetch_add(1, Ordering::Relaxed);
            return refuse(
                400,
                "Code: 115. DB::Exception: the setting is not allowed here",
            );
        }
    }
    if asked.contains("INSERT") && !asked.contains("async_insert=0") {
        seen.gathered.fetch_add(1, Ordering::Relaxed);
    }
    // Cloud says that it is Cloud; the engine knows no such setting.
    let known = text.replace(
        "= 'cloud_mode' AND value IN ('1', 'true')",
        "= 'max_threads'",
    );
    let body = if known == text {
        body
    } else {
        Bytes::from(known)
    };
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut forwarded = http.request(parts.method, format!("{to}{path}")).body(body);
    for (name, value) in &parts.headers {
        if !["host", "content-length", "transfer-encoding", "connection"].contains(&name.as_str()) {
            forwarded = forwarded.header(name, value);
        }
    }
    let answered = forwarded.send().await.unwrap();
    let mut response = Response::builder().status(answered.status());
    for (name, value) in answered.headers() {
        // Not the length: it is that of what was read.
        let name_text = name.as_str();
        let is_told = name_text.starts_with("x-clickhouse") || name_text.starts_with("content-");
        if is_told && name_text != "content-length" {
            response = response.header(name, value);
        }
    }
    let bytes = answered.bytes().await.unwrap_or_default();
    response.body(Full::new(bytes)).unwrap()
}

#[tokio::test]
async fn what_is_shipped_over_https_to_a_server_like_cloud_is_all_there() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate_path, key) = certificate(folder.path(), "cloud");
    let engine = Engine::start();
    let cloud = Cloud::before(&engine, &certificate_path, &key).await;
    let roots = certificate_path.display().to_string();
    let environment = [
        ("TILLWATCH_CLICKHOUSE_URL", cloud.url.as_str()),
        ("TILLWATCH_CLICKHOUSE_CA_FILE", roots.as_str()),
        ("TILLWATCH_SEAL_INTERVAL", "500ms"),
    ];
    let server = Server::start_on(folder.path(), &environment).await;
    for _ in 0..5 {
        server.taken(&Batch::new("store-1").filled(20).0).await;
    }
    server.wait_confirmed().await;
    let reply = server
        .get("/api/v1/percentiles", &[("metric", "lcp_ms")])
        .await;
    assert_eq!(
        reply.json()["series"][0]["points"][0]["count"],
        100,
        "{}",
        reply.text()
    );
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let seen = &cloud.seen;
    assert_eq!(
        (
            count(&seen.asleep),
            count(&seen.refused),
            count(&seen.gathered)
        ),
        (3, 0, 0)
    );
    let own = data(&server);
    server.stop().await;
    let more = [
        "--clickhouse-url",
        &cloud.url,
        "--clickhouse-ca-file",
        &roots,
    ];
    audit_is_clean(&own, &more).await;
    // A certificate that leads to no root is not talked to.
    let (other, _) = certificate(folder.path(), "other");
    let other = other.display().to_string();
    let environment = [
        environment[0],
        ("TILLWATCH_CLICKHOUSE_CA_FILE", other.as_str()),
    ];
    let before = count(&seen.statements);
    let aside = tempfile::tempdir().unwrap();
    let server = Server::start_on(aside.path(), &environment).await;
    server.taken(&Batch::new("store-1").filled(1).0).await;
    let started = now_ms();
    while server.metrics().await.value("tillwatch_ship_failures", &[]) == 0.0 {
        assert!(now_ms() - started < 30_000, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(count(&seen.statements), before);
    server.stop().await;
}
