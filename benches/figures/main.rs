//! Measures the figures of `docs/figures.md`, each in one run on this machine.
//!
//! `cargo bench` runs all of it; `cargo bench -- ingest`, `-- admission`, `-- tls`, `-- encodings`, `-- keys`, `-- trickle`,
//! `-- trace`, `-- replay`, `-- memory`, `-- page`, `-- query`, `-- hours` or `-- readback` one part. Ratios
//! hold from machine to machine, absolute numbers do not.

#![expect(
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    reason = "a program for people: it measures, prints, and ends at the first surprise"
)]

mod admission;
mod child;
mod encodings;
mod hours;
mod load;
mod page;
mod readback;
mod tls;

use std::time::{Duration, Instant};

use child::{Child, bare_server};
use load::{Closed, Identity, Measured, Trickle};
use tillwatch::chance::Chance;
use tillwatch::doors::counters::Counters;
use tillwatch::doors::recent::Recent;
use tillwatch::doors::trace::{Noted, Trace};
use tillwatch::intake::laps::Stage;
use tillwatch::logging::Format;
use tillwatch::request_id::RequestId;
use tillwatch::tap::Tap;
use tillwatch_model::Outcomes;

/// Rounds of each server, taken in turn.
const ROUNDS: usize = 5;
/// How long one round lasts.
const ROUND: Duration = Duration::from_secs(4);
const CONNECTIONS: usize = 256;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, port] = arguments.as_slice()
        && first == "bare-server"
    {
        bare_server(port);
        return;
    }
    let parts: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|part| !part.starts_with('-'))
        .collect();
    let wants = |part: &str| parts.is_empty() || parts.contains(&part);
    if wants("ingest") {
        ingest();
    }
    if wants("admission") {
        admission::admission();
    }
    if wants("tls") {
        tls::tls();
    }
    if wants("encodings") {
        encodings::encodings();
    }
    if wants("keys") {
        keys();
    }
    if wants("trickle") {
        trickle();
    }
    if wants("trace") {
        trace();
    }
    if wants("replay") {
        replay();
    }
    if wants("memory") {
        memory();
    }
    if wants("page") {
        page::run();
    }
    if wants("query") {
        query();
    }
    if wants("hours") {
        hours::hours();
    }
    if wants("readback") {
        readback::readback();
    }
}

fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (
        values[values.len() / 2],
        values[0],
        values[values.len() - 1],
    )
}

fn show(name: &str, runs: &[Measured]) -> f64 {
    let of = |pick: fn(&Measured) -> f64| median(runs.iter().map(pick).collect());
    let (rate, least, most) = of(|run| run.requests_per_s);
    println!(
        "{name:<28} {rate:>9.0} requests/s ({least:.0} to {most:.0})  CPU {:>5.1} µs a batch  p50 {:.2} ms  p99 {:.2} ms  RSS {:.0} MB",
        of(|run| run.cpu_us).0,
        of(|run| run.p50_ms).0,
        of(|run| run.p99_ms).0,
        of(|run| run.rss_mb).0,
    );
    rate
}

/// Durable ingest of 40-sample JSON batches against a handler that only drains the same body.
fn ingest() {
    println!(
        "\n== ingest: 40-sample JSON batches, {CONNECTIONS} connections, closed loop, {ROUNDS} rounds of {} s",
        ROUND.as_secs()
    );
    let (mut bare, mut durable) = (Vec::new(), Vec::new());
    let drain = Child::bare();
    let serve = Child::serve(&[]);
    // Warm up: segments made, windows and queues there.
    for server in [&drain, &serve] {
        Closed::new(server, CONNECTIONS).run(Duration::from_secs(2));
    }
    for _ in 0..ROUNDS {
        bare.push(Closed::new(&drain, CONNECTIONS).run(ROUND));
        durable.push(Closed::new(&serve, CONNECTIONS).run(ROUND));
    }
    let bare_rate = show("axum, body drained", &bare);
    let durable_rate = show("tillwatch, durable", &durable);
    let ratios = bare
        .iter()
        .zip(&durable)
        .map(|(bare, durable)| durable.requests_per_s / bare.requests_per_s);
    let (ratio, least, most) = median(ratios.collect());
    println!(
        "ratio {ratio:.3} ({least:.3} to {most:.3}); of the medians {:.3}",
        durable_rate / bare_rate
    );
    let accepted = serve.metric("tillwatch_samples_total{outcome=\"accepted\"}");
    println!("accepted {accepted} samples in all");
}

/// Batches with an idempotency key against the same with a queue: all keys in memory, or most of them on
/// disk only.
fn keys() {
    println!(
        "\n== keys: 40-sample JSON batches, 64 connections, closed loop, {ROUNDS} rounds of {} s",
        ROUND.as_secs()
    );
    let queued = Child::serve(&[]);
    let cached = Child::serve(&["--idempotency-keys-cached", "5000000"]);
    let looked_up = Child::serve(&["--idempotency-keys-cached", "1000", "--seal-interval", "2s"]);
    let servers = [
        ("queue and number", &queued, Identity::Queue),
        ("key, all cached", &cached, Identity::Key),
        ("key, looked up on disk", &looked_up, Identity::Key),
    ];
    let mut runs: [Vec<Measured>; 3] = Default::default();
    for (_, server, identity) in servers {
        Closed::with(server, 64, identity).run(Duration::from_secs(2));
    }
    for _ in 0..ROUNDS {
        for ((_, server, identity), runs) in servers.into_iter().zip(&mut runs) {
            runs.push(Closed::with(server, 64, identity).run(ROUND));
        }
    }
    for ((name, server, _), runs) in servers.into_iter().zip(&runs) {
        show(name, runs);
        println!(
            "  keys remembered: {}",
            server.metric("tillwatch_idempotency_keys")
        );
    }
}

/// 20,000 batches a minute, sent at their times whether or not the last was answered.
fn trickle() {
    println!("\n== trickle: 20,000 batches a minute over 64 connections, open loop, 15 s");
    let serve = Child::serve(&[]);
    Closed::new(&serve, 64).run(Duration::from_secs(1));
    let sync = load::sync_times(serve.folder());
    let measured = Trickle::new(&serve, 64).run(20_000.0 / 60.0, Duration::from_secs(15));
    show("tillwatch, durable", &[measured]);
    println!(
        "fdatasync of 4 KiB beside it: p50 {:.2} ms, p99 {:.2} ms",
        sync.0, sync.1
    );
}

/// What a good batch costs for being observed: its name, its stages, its metrics, and the span and line
/// that are not written at the default level. The same from two threads, as in `serve`.
fn trace() {
    const BATCHES: u32 = 1_000_000;
    println!("\n== trace: one good batch, nothing written");
    tillwatch::logging::init(Format::Text, "info");
    let recorder = tillwatch::self_metrics::install();
    assert!(recorder.is_ok(), "the first recorder");
    let (counters, tap, recent) = (Counters::default(), Tap::default(), Recent::default());
    let noted = Noted {
        counters: &counters,
        tap: &tap,
        recent: &recent,
    };
    let headers = axum::http::HeaderMap::new();
    let chance = Chance::of_system();
    // Processor time: neighbours on this machine do not count.
    let spent = || {
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(spent).unwrap_or_default()
    };
    let observe = || {
        let started = spent();
        for _ in 0..BATCHES {
            let id = RequestId::of(&headers, &chance);
            let mut trace = Trace::begin(noted, "terminal", id, Duration::from_secs(1));
            let _span = tracing::debug_span!("request", request_id = %trace.id()).entered();
            trace.read(2_400);
            trace.lap(Stage::Decode);
            trace.lap(Stage::Check);
            trace.lap(Stage::JournalWait);
            trace.lap(Stage::JournalCommit);
            trace.lap(Stage::HandOn);
            trace.note(0, None);
            trace.finish(axum::http::StatusCode::ACCEPTED, None, Outcomes::default());
        }
        (spent() - started).as_secs_f64() / f64::from(BATCHES) * 1e9
    };
    let rounds = |threads: usize| {
        let round = || {
            std::thread::scope(|scope| {
                let running: Vec<_> = (0..threads).map(|_| scope.spawn(observe)).collect();
                let times = running
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or(f64::NAN));
                times.fold(0.0, f64::max)
            })
        };
        median((0..ROUNDS).map(|_| round()).collect())
    };
    for threads in [1, 2] {
        let (middle, least, most) = rounds(threads);
        println!(
            "{threads} threads: {middle:.0} ns of processor time a batch ({least:.0} to {most:.0})"
        );
    }
}

/// How long a start takes with a journal that was never sealed.
fn replay() {
    println!("\n== replay: a journal that was never sealed, after kill -9");
    let unsealed = [
        "--seal-interval",
        "1h",
        "--seal-journal-bytes",
        "8GiB",
        "--seal-rows",
        "100000000",
    ];
    let mut serve = Child::serve(&unsealed);
    Closed::new(&serve, CONNECTIONS).run(Duration::from_secs(10));
    let number = |serve: &Child, name: &str| serve.metric(name).parse::<f64>().unwrap_or(0.0);
    let bytes = number(&serve, "tillwatch_journal_used_bytes");
    let before = number(&serve, "tillwatch_ledger_samples{place=\"accepted\"}");
    let seconds = serve.kill_and_restart(&unsealed);
    let after = number(&serve, "tillwatch_ledger_samples{place=\"accepted\"}");
    let gib = bytes / f64::from(1 << 30);
    println!(
        "{gib:.2} GiB of journal: ready after {seconds:.2} s, {:.1} s a GiB",
        seconds / gib
    );
    println!(
        "accepted before {before}, after {after}: {}",
        if before <= after {
            "nothing lost"
        } else {
            "LOST"
        }
    );
}

/// Resident memory of `serve` with a fleet of 500 terminals that reports every metric.
fn memory() {
    println!("\n== memory: 50 stores, 500 terminals, all metrics");
    let serve = Child::serve(&["--seal-interval", "30s"]);
    let started = Instant::now();
    let report = serve.simulate(&[
        "--stores",
        "50",
        "--terminals",
        "500",
        "--rate",
        "3000",
        "--duration",
        "75s",
    ]);
    println!(
        "{}",
        report
            .lines()
            .filter(|line| line.starts_with("found again") || line.contains("acknowledged"))
            .collect::<Vec<_>>()
            .join("\n")
    );
    println!(
        "serve after {} s: resident {:.0} MB, at most {:.0} MB",
        started.elapsed().as_secs(),
        serve.rss_mb(),
        serve.rss_mb_max()
    );
    println!("{}", serve.audit());
}

/// p95 by store and hour over seven days of one metric in 50 stores: 504,000 rows at rest.
fn query() {
    println!("\n== query: p95 by store and hour, 7 days, 50 stores, one metric, one row a minute");
    let serve = Child::serve(&[]);
    serve.sql(
        "INSERT INTO rollup_1m SELECT 'sync_duration_ms', '', concat('store-', leftPad(toString(number % 50), 3, '0')), '2.4.1', 'online', 'rum', \
         toStartOfMinute(now()) - 120 - intDiv(number, 50) * 60, 60, generateUUIDv4(0), 1, \
         (arrayMap(i -> toUInt32(9000 + i * 97 + cityHash64(number, i) % 97), range(20)), arrayMap(i -> toUInt64(1 + cityHash64(i, number) % 9), range(20))), \
         100, 100000000, 1000, 9000000, 10, 1, now64(3), cityHash64(number) FROM numbers(504000)",
    );
    let mut times = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        let points = serve.points(
            "metric=sync_duration_ms&q=0.95&step=1h&group_by=store_id",
            7 * 24,
        );
        times.push(started.elapsed().as_secs_f64());
        assert!(points >= 50 * 167, "{points} points");
    }
    let (middle, least, most) = median(times);
    println!("through the API: {middle:.2} s ({least:.2} to {most:.2})");
}
