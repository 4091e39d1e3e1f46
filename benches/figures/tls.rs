//! TLS against plain HTTP: on connections that are kept, and while others shake hands.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::child::Child;
use crate::load::{Identity, body};
use crate::{ROUNDS, median};

const THREADS: usize = 8;
const ROUND: Duration = Duration::from_secs(3);
/// Handshakes a second beside the load.
const HANDSHAKES_PER_S: u32 = 200;

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

type Connect = Arc<dyn Fn() -> Box<dyn Wire> + Send + Sync>;

fn tcp(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("an option");
    stream
}

/// Posts one batch after the other; the times of the answers, ns.
fn post(wire: &mut dyn Wire, terminal: usize, until: Instant, times: &mut Histogram<u64>) {
    let now_ms = std::time::UNIX_EPOCH
        .elapsed()
        .expect("a clock")
        .as_millis();
    let text = body(terminal, now_ms, Identity::Queue);
    let mut seq = 100_000_000_000_u64;
    let mut answer = [0; 4_096];
    while Instant::now() < until {
        seq += 1;
        let text = text.replace("100000000000", &seq.to_string());
        let request = format!(
            "POST /v1/batches HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        let sent = Instant::now();
        wire.write_all(request.as_bytes()).expect("a request");
        wire.flush().expect("a request");
        let read = wire.read(&mut answer).expect("an answer");
        assert!(answer[..read].starts_with(b"HTTP/1.1 202"));
        times
            .record(sent.elapsed().as_nanos() as u64)
            .expect("a time");
    }
}

/// A round of some clients, each with a connection of its own: requests a second, CPU µs a request, p99 ms.
fn round(server: &Child, connect: &Connect, first: usize) -> (f64, f64, f64) {
    let mut wires: Vec<Box<dyn Wire>> = (0..THREADS).map(|_| connect()).collect();
    let (started, cpu) = (Instant::now(), server.cpu_s());
    let until = started + ROUND;
    let mut all = Histogram::<u64>::new(3).expect("a histogram");
    std::thread::scope(|scope| {
        let running: Vec<_> = wires
            .iter_mut()
            .enumerate()
            .map(|(place, wire)| {
                scope.spawn(move || {
                    let mut times = Histogram::<u64>::new(3).expect("a histogram");
                    post(wire.as_mut(), first + place, until, &mut times);
                    times
                })
            })
            .collect();
        for thread in running {
            all.add(thread.join().expect("a client")).expect("times");
        }
    });
    let requests = all.len() as f64;
    (
        requests / started.elapsed().as_secs_f64(),
        (server.cpu_s() - cpu) * 1e6 / requests,
        all.value_at_quantile(0.99) as f64 / 1e6,
    )
}

pub fn tls() {
    println!(
        "\n== tls: 40-sample JSON batches, {THREADS} kept connections, closed loop, {ROUNDS} rounds of {} s",
        ROUND.as_secs()
    );
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let paths = ["crt", "key"].map(|end| folder.path().join(end));
    std::fs::write(&paths[0], made.cert.pem()).expect("a file");
    std::fs::write(&paths[1], made.signing_key.serialize_pem()).expect("a file");
    let text = paths.each_ref().map(|path| path.display().to_string());
    let secured = Child::serve(&["--tls-certificate", &text[0], "--tls-key", &text[1]]);
    let plain = Child::serve(&[]);
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&paths[0]).expect("a certificate"))
        .expect("a root");
    let config = |resumes: bool| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3");
        let mut config = config
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        if !resumes {
            config.resumption = rustls::client::Resumption::disabled();
        }
        Arc::new(config)
    };
    let connect_tls = |config: Arc<ClientConfig>| -> Connect {
        let address = secured.address.clone();
        Arc::new(move || {
            let name = ServerName::try_from("localhost").expect("a name");
            let client = ClientConnection::new(Arc::clone(&config), name).expect("a client");
            Box::new(StreamOwned::new(client, tcp(&address)))
        })
    };
    let address = plain.address.clone();
    let connect_plain: Connect = Arc::new(move || Box::new(tcp(&address)));
    let connect_secured = connect_tls(config(true));
    let (mut of_plain, mut of_tls) = (Vec::new(), Vec::new());
    for at in 0..=ROUNDS {
        let pair = (
            round(&plain, &connect_plain, at * THREADS),
            round(&secured, &connect_secured, at * THREADS),
        );
        if at > 0 {
            of_plain.push(pair.0);
            of_tls.push(pair.1);
        }
    }
    for (name, runs) in [("plain", &of_plain), ("TLS 1.3", &of_tls)] {
        let of = |pick: fn(&(f64, f64, f64)) -> f64| median(runs.iter().map(pick).collect()).0;
        println!(
            "{name:<10} {:>8.0} requests/s  CPU {:.1} µs a batch  p99 {:.2} ms",
            of(|run| run.0),
            of(|run| run.1),
            of(|run| run.2)
        );
    }
    let ratios = of_tls
        .iter()
        .zip(&of_plain)
        .map(|(tls, plain)| tls.1 / plain.1);
    let (ratio, least, most) = median(ratios.collect());
    println!("CPU a batch, TLS to plain: {ratio:.3} ({least:.3} to {most:.3})");
    for (name, resumes) in [("new sessions", false), ("resumed", true)] {
        handshakes(
            &secured,
            &connect_secured,
            &connect_tls(config(resumes)),
            name,
        );
    }
}

/// The load with and without others that shake hands beside it, in turn.
fn handshakes(server: &Child, load: &Connect, connect: &Connect, name: &str) {
    let (mut alone, mut beside, mut made) = (Vec::new(), Vec::new(), 0);
    for at in 0..ROUNDS {
        alone.push(round(server, load, 1_000 + at * THREADS).2);
        let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (gap, mut next) = (Duration::from_secs(1) / HANDSHAKES_PER_S, Instant::now());
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                    next += gap;
                    let mut wire = connect();
                    wire.write_all(
                        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
                    )
                    .expect("a request");
                    let read = wire.read(&mut [0; 512]).expect("an answer");
                    count.fetch_add(u64::from(read > 0), Ordering::Relaxed);
                }
            });
            beside.push(round(server, load, 2_000 + at * THREADS).2);
            stop.store(true, Ordering::Relaxed);
        });
        made += count.load(Ordering::Relaxed);
    }
    println!(
        "{name}: p99 of the load {:.2} ms alone, {:.2} ms beside {:.0} handshakes a second",
        median(alone).0,
        median(beside).0,
        made as f64 / (ROUND.as_secs_f64() * ROUNDS as f64)
    );
}
