//! The same listener with TLS: handshakes that succeed, fail and take for ever, and certificates that change.

use std::path::Path;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::listener::CertificateFiles;
use crate::listener::TlsError;
use crate::self_metrics::TLS_HANDSHAKES;

use super::*;

/// A folder with a certificate, and what trusts all that were in it.
struct Folder {
    folder: TempDir,
    roots: RootCertStore,
}

impl Folder {
    fn new() -> Self {
        let mut new = Self {
            folder: TempDir::new().unwrap(),
            roots: RootCertStore::empty(),
        };
        new.replace();
        new
    }

    fn files(&self) -> CertificateFiles {
        CertificateFiles {
            certificate: self.folder.path().join("tls.crt"),
            key: self.folder.path().join("tls.key"),
        }
    }

    fn tls(&self) -> Arc<Tls> {
        Arc::new(Tls::load(self.files()).unwrap())
    }

    /// Puts a new certificate in the place of the one before, and gives it.
    fn replace(&mut self) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        put(&self.files().certificate, &certificate.pem());
        put(&self.files().key, &key.serialize_pem());
        self.roots.add(certificate.der().clone()).unwrap();
        certificate.der().clone()
    }

    fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

/// Puts a file in the place of another at once, so that its inode tells it from the one before.
fn put(path: &Path, text: &str) {
    let unfinished = path.with_extension("new");
    std::fs::write(&unfinished, text).unwrap();
    std::fs::rename(unfinished, path).unwrap();
}

async fn shake(server: &Server, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let shaking = TlsConnector::from(config).connect(name, stream);
    timeout(PATIENCE, shaking).await.expect("an end in time")
}

const ANY: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

/// Asks, and hears the answer; the connection stays open.
async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(GET.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\nok") {
        let read = timeout(PATIENCE, stream.read_buf(&mut heard)).await;
        assert!(read.unwrap().unwrap() > 0, "{heard:?}");
    }
    String::from_utf8(heard).unwrap()
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'_> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

/// The bytes with which a client begins.
fn hello(folder: &Folder) -> Vec<u8> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = rustls::ClientConnection::new(folder.client(ANY), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new().build_recorder()
}

/// How many handshakes came to this.
fn counted(recorder: &PrometheusRecorder, result: &str) -> u64 {
    let series = format!("{TLS_HANDSHAKES}{{listener=\"test\",result=\"{result}\"}} ");
    let page = recorder.handle().render();
    let line = page.lines().find_map(|line| line.strip_prefix(&series));
    line.expect("it is there from the start").parse().unwrap()
}

#[tokio::test]
async fn requests_are_answered_over_both_versions_and_sessions_resumed() {
    let recorder = recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let folder = Folder::new();
    let server = Server::start_secured(settings(100), Some(folder.tls())).await;
    assert_eq!(counted(&recorder, "ok"), 0);
    for version in [&version::TLS13, &version::TLS12] {
        let config = folder.client(&[version]);
        for kind in [
            rustls::HandshakeKind::Full,
            rustls::HandshakeKind::Resumed,
            rustls::HandshakeKind::Resumed,
        ] {
            let mut stream = shake(&server, Arc::clone(&config)).await.unwrap();
            assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
            assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
            let session = stream.get_ref().1;
            assert_eq!(session.protocol_version(), Some(version.version));
            assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert_eq!(session.handshake_kind(), Some(kind));
        }
    }
    assert_eq!(counted(&recorder, "ok"), 6);
    assert_eq!(counted(&recorder, "failed"), 0);
    server.stop().await;
}

#[tokio::test]
async fn whoever_does_not_speak_tls_is_told_so_and_counted() {
    let recorder = recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let folder = Folder::new();
    let server = Server::start_secured(settings(100), Some(folder.tls())).await;
    // The answer is not lost behind what is unread.
    let large = format!("{HALF_BODY}{}", " ".repeat(1_000_000));
    for request in [GET, "G", &large] {
        let mut client = server.said(request).await;
        let heard = client.hears_the_end().await;
        let (head, body) = heard.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        assert!(
            head.ends_with(&format!("content-length: {}", body.len())),
            "{head}"
        );
        assert!(body.contains("HTTPS"), "{body}");
    }
    assert_eq!(counted(&recorder, "plain_http"), 3);

    // TLS 1.1, which says so in the first field after the lengths: one cipher, and what it may be used with.
    let mut old = b"\x16\x03\x01\x00\x45\x01\x00\x00\x41\x03\x02".to_vec();
    old.extend([7; 32]);
    old.extend(b"\x00\x00\x02\xc0\x13\x01\x00\x00\x16");
    old.extend(
        b"\x00\x0d\x00\x04\x00\x02\x04\x03\x00\x0a\x00\x04\x00\x02\x00\x17\x00\x0b\x00\x02\x01\x00",
    );
    let mut client = server.said(&old).await;
    let mut alert = Vec::new();
    client.0.read_to_end(&mut alert).await.unwrap();
    // A fatal alert: protocol_version.
    assert_eq!(alert.first(), Some(&21));
    assert!(alert.ends_with(&[2, 70]), "{alert:?}");
    // Garbage.
    let mut client = server.said([0_u8; 300]).await;
    let mut alert = Vec::new();
    client.0.read_to_end(&mut alert).await.unwrap();
    assert_eq!(alert.first(), Some(&21));
    // A client that speaks only HTTP/2, one that does not trust the certificate, one that leaves in the middle.
    let mut config = ClientConfig::clone(&folder.client(ANY));
    config.alpn_protocols = vec![b"h2".to_vec()];
    assert!(shake(&server, Arc::new(config)).await.is_err());
    let stranger = Folder::new().client(ANY);
    assert!(shake(&server, stranger).await.is_err());
    let mut client = server.said(hello(&folder).get(..50).unwrap()).await;
    client.0.shutdown().await.unwrap();
    client.hears_the_end().await;
    let all = async {
        while counted(&recorder, "failed") != 5 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, all).await.expect("all counted");
    // A probe that says nothing is no handshake.
    drop(server.connect().await);
    assert!(
        ask(&mut shake(&server, folder.client(ANY)).await.unwrap())
            .await
            .ends_with("ok")
    );
    let ended = ["ok", "timed_out", "failed"].map(|result| counted(&recorder, result));
    assert_eq!(ended, [1, 0, 5]);
    server.stop().await;
}

#[tokio::test]
async fn half_a_handshake_is_closed_at_the_time_of_a_head_and_holds_nobody_up() {
    let recorder = recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let folder = Folder::new();
    let server = Server::start_secured(
        ListenerSettings {
            idle_s_max: 60,
            // A hundred connections and three handshakes take less, on a busy machine, too.
            head_s_max: 3,
            ..settings(1_000)
        },
        Some(folder.tls()),
    )
    .await;
    let hello = hello(&folder);
    let began = Instant::now();
    let mut slow = Vec::new();
    for index in 0..100 {
        // A byte, a part, all of the first word and none of the second.
        let part = [1, hello.len() / 2, hello.len()][index % 3];
        slow.push(server.said(hello.get(..part).unwrap()).await);
    }
    // One that has said nothing, and one that has only shaken hands: they are idle.
    let mut silent = server.connect().await;
    let mut open = shake(&server, folder.client(ANY)).await.unwrap();
    let mut new = shake(&server, folder.client(ANY)).await.unwrap();
    assert!(ask(&mut new).await.ends_with("ok"));
    assert_eq!(counted(&recorder, "timed_out"), 0, "it was held up");
    for client in &mut slow {
        assert!(client.is_closed_within(PATIENCE / 2).await);
    }
    assert!(began.elapsed() > Duration::from_secs(1), "too early");
    assert_eq!(counted(&recorder, "timed_out"), 100);
    assert!(ask(&mut open).await.ends_with("ok"));
    assert!(ask(&mut new).await.ends_with("ok"));
    assert!(!silent.is_closed_within(Duration::from_millis(1)).await);
    server.stop().await;
}

#[tokio::test]
async fn handshakes_make_room() {
    let folder = Folder::new();
    let server = Server::start_secured(settings(8), Some(folder.tls())).await;
    let hello = hello(&folder);
    let mut slow = Vec::new();
    for _ in 0..20 {
        slow.push(server.said(&hello).await);
    }
    for _ in 0..5 {
        let mut new = shake(&server, folder.client(ANY)).await.unwrap();
        assert!(ask(&mut new).await.ends_with("ok"));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_the_next_connection() {
    let mut folder = Folder::new();
    let tls = folder.tls();
    let server = Server::start_secured(settings(100), Some(Arc::clone(&tls))).await;
    let mut open = shake(&server, folder.client(ANY)).await.unwrap();
    let first = shown(&open).into_owned();
    ask(&mut open).await;
    assert!(!tls.look().unwrap());
    let second = folder.replace();
    assert!(tls.look().unwrap());
    assert!(!tls.look().unwrap());
    let mut next = shake(&server, folder.client(ANY)).await.unwrap();
    assert_eq!(shown(&next), second);
    ask(&mut next).await;
    assert_eq!(shown(&open), first);
    ask(&mut open).await;
    server.stop().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_change_nothing_and_are_told_of_once() {
    let mut folder = Folder::new();
    let (files, tls) = (folder.files(), folder.tls());
    let server = Server::start_secured(settings(100), Some(Arc::clone(&tls))).await;
    let stays = shake(&server, folder.client(ANY)).await.unwrap();
    let (certificate, key) = (
        std::fs::read_to_string(&files.certificate).unwrap(),
        std::fs::read_to_string(&files.key).unwrap(),
    );
    let half = certificate.get(..certificate.len() / 2).unwrap();
    let others = KeyPair::generate().unwrap().serialize_pem();
    let one_line = key.replace('\n', "");
    let large = "x".repeat((1 << 20) + 1);
    let is_told = |certificate: &str, key: &str| {
        put(&files.certificate, certificate);
        put(&files.key, key);
        let error = tls.look().unwrap_err();
        assert!(!tls.look().unwrap(), "told again: {error}");
        // No part of a key is told.
        let told = format!("{error:?} {error}");
        assert!(
            !key.lines().nth(1).is_some_and(|line| told.contains(line)),
            "{told}"
        );
        assert!(!told.contains("MIG"), "{told}");
        error
    };
    assert!(matches!(is_told(half, &key), TlsError::Certificate { .. }));
    assert!(matches!(is_told("", &key), TlsError::NoCertificate { .. }));
    assert!(matches!(is_told(&certificate, ""), TlsError::NoKey { .. }));
    assert!(matches!(
        is_told(&certificate, &one_line),
        TlsError::NoKey { .. }
    ));
    assert!(matches!(
        is_told(&certificate, &others),
        TlsError::Pair { .. }
    ));
    assert!(matches!(is_told(&large, &key), TlsError::TooLarge { .. }));
    put(&files.certificate, &certificate);
    assert!(tls.look().unwrap());
    std::fs::remove_file(&files.key).unwrap();
    assert!(matches!(tls.look(), Err(TlsError::Io { .. })));
    assert!(!tls.look().unwrap());
    assert!(Tls::load(files.clone()).is_err());
    let same = shake(&server, folder.client(ANY)).await.unwrap();
    assert_eq!(shown(&same), shown(&stays));
    let new = folder.replace();
    assert!(tls.look().unwrap());
    let next = shake(&server, folder.client(ANY)).await.unwrap();
    assert_eq!(shown(&next), new);
    server.stop().await;
}

#[test]
fn a_key_that_everybody_can_read_is_doubted() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let tls = folder.tls();
    for (mode, is_doubted) in [(0o600, false), (0o640, false), (0o644, true)] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.files().key, mode).unwrap();
        assert_eq!(tls.doubt().is_some(), is_doubted);
    }
}

#[tokio::test]
async fn a_client_that_has_closed_its_side_of_tls_is_answered() {
    let folder = Folder::new();
    let server = Server::start_secured(settings(100), Some(folder.tls())).await;
    for has_word in [true, false] {
        let mut stream = shake(&server, folder.client(ANY)).await.unwrap();
        stream.write_all(WAIT.as_bytes()).await.unwrap();
        server.wait_for(1).await;
        if has_word {
            stream.shutdown().await.unwrap();
        } else {
            stream.get_mut().0.shutdown().await.unwrap();
        }
        sleep(Duration::from_millis(100)).await;
        server.permits.add_permits(1);
        let mut heard = String::new();
        // It ends with the word for it: no error.
        let all = timeout(PATIENCE, stream.read_to_string(&mut heard)).await;
        all.unwrap().unwrap();
        assert!(heard.ends_with("done"), "{heard}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_of_tls_is_not_read_from_and_closed() {
    let folder = Folder::new();
    // The listener's clock may be behind on a busy machine: twice what the client is to have.
    let idle_s_max = 2;
    let settings = ListenerSettings {
        idle_s_max,
        ..settings(10)
    };
    let server = Server::start_secured(settings, Some(folder.tls())).await;
    let never_reads = async |request: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8_192).unwrap();
        let stream = socket.connect(server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(folder.client(ANY));
        let mut stream = connector.connect(name, stream).await.unwrap();
        let many = request.repeat(1_000);
        let began = Instant::now();
        let sending = async { while stream.write_all(many.as_bytes()).await.is_ok() {} };
        let all = timeout(PATIENCE, sending).await;
        all.expect("closed, for it reads nothing");
        assert!(
            began.elapsed() > Duration::from_secs(1),
            "it had time to read"
        );
    };
    tokio::join!(
        never_reads(GET),
        never_reads("GET /large HTTP/1.1\r\nHost: t\r\n\r\n"),
        never_reads("POST /unread HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nx"),
    );
    let mut next = shake(&server, folder.client(ANY)).await.unwrap();
    ask(&mut next).await;
    server.stop().await;
}

#[tokio::test]
async fn what_a_slow_reader_has_not_read_is_sent_before_its_connection_is_parked() {
    let folder = Folder::new();
    // Whoever reads nothing for as long as a connection may be idle is left: longer than this test takes.
    let settings = ListenerSettings {
        idle_s_max: 20,
        ..settings(100)
    };
    let server = Server::start_secured(settings, Some(folder.tls())).await;
    let mut stream = shake(&server, folder.client(ANY)).await.unwrap();
    let large = "GET /large HTTP/1.1\r\nHost: t\r\n\r\n".repeat(20);
    stream.write_all(large.as_bytes()).await.unwrap();
    // Long enough for a connection to be parked.
    sleep(Duration::from_millis(2_200)).await;
    let handled = server.handled.load(Ordering::Relaxed);
    assert!(handled < 20, "{handled}: it reads nothing yet");
    stream.shutdown().await.unwrap();
    let mut heard = String::new();
    let all = timeout(PATIENCE, stream.read_to_string(&mut heard)).await;
    all.unwrap().unwrap();
    assert_eq!(heard.matches(&"x".repeat(1 << 20)).count(), 20);
    server.stop().await;
}

#[tokio::test]
async fn the_end_of_the_listener_lets_work_and_handshakes_finish() {
    let folder = Folder::new();
    let server = Server::start_secured(settings(100), Some(folder.tls())).await;
    let mut idle = shake(&server, folder.client(ANY)).await.unwrap();
    let mut busy = shake(&server, folder.client(ANY)).await.unwrap();
    busy.write_all(WAIT.as_bytes()).await.unwrap();
    server.wait_for(1).await;
    // A handshake that ends, with a request behind it, when the listener has been told to stop.
    let hello = hello(&folder);
    let mut beginning = server.said(hello.get(..10).unwrap()).await;
    sleep(Duration::from_millis(50)).await;
    server.stop.send(true).unwrap();
    sleep(Duration::from_millis(50)).await;
    beginning.say(hello.get(10..).unwrap()).await;
    let mut first = [0];
    let read = timeout(SOON, beginning.0.read_exact(&mut first)).await;
    read.unwrap().unwrap();
    // Its server hello.
    assert_eq!(first, [22]);
    drop(beginning);
    let mut nothing = Vec::new();
    // Closed with the word for it.
    let read = timeout(SOON, idle.read_to_end(&mut nothing)).await;
    assert_eq!(read.unwrap().unwrap(), 0);
    server.permits.add_permits(1);
    let mut heard = String::new();
    let all = timeout(PATIENCE, busy.read_to_string(&mut heard)).await;
    all.unwrap().unwrap();
    assert!(heard.ends_with("done"), "{heard}");
    let took = server.stop().await;
    assert!(took < SOON, "{took:?}");
}
