//! What it costs to let a request in, or not: by credential, and by where it is refused.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use tillwatch_token::{AUDIENCE, Claims, KeySet, SigningKey, VerifyingKey, jwks};

use crate::child::Child;
use crate::load::{Closed, Identity, Measured, Shape};
use crate::{ROUND, ROUNDS, show};

const CONNECTIONS: usize = 64;

/// What signs, and a static key.
static SECRETS: OnceLock<(SigningKey, String)> = OnceLock::new();

fn secrets() -> &'static (SigningKey, String) {
    SECRETS.get().expect("they were made")
}

fn now_s() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("a clock").as_secs()).unwrap_or(0)
}

/// A token of this terminal that ends in so many seconds.
fn token(terminal: usize, ends_s: i64) -> String {
    let claims = Claims {
        aud: AUDIENCE.to_owned(),
        store: format!("store-{:03}", terminal % 50),
        terminal: Some(format!("till-{terminal}")),
        cohort: None,
        jti: format!("t{terminal}"),
        fam: None,
        iat: now_s() - 1_000,
        auth_time: None,
        nbf: None,
        exp: now_s() + ends_s,
    };
    secrets().0.sign(&claims).expect("a token")
}

fn bearer(text: &str) -> String {
    format!("authorization: Bearer {text}\r\n")
}

fn prepare(folder: &Path) {
    let key = |words: &[&str]| {
        let made = Command::new(env!("CARGO_BIN_EXE_tillwatch"))
            .args(words)
            .arg("--data-dir")
            .arg(folder)
            .output()
            .expect("the command");
        String::from_utf8(made.stdout)
            .expect("text")
            .trim()
            .to_owned()
    };
    key(&["token", "key", "new"]);
    let file = std::fs::read_dir(folder.join("token_keys"))
        .expect("keys")
        .next();
    let path = file.expect("a key").expect("a key").path();
    let text = std::fs::read_to_string(path).expect("a key");
    let signing = SigningKey::from_json(&text).expect("a key");
    let server = key(&["key", "new", "--scope", "post"]);
    SECRETS.set((signing, server)).expect("once");
}

/// Requests of forty samples over kept connections, each kind in turn.
pub fn admission() {
    println!(
        "\n== admission: 40-sample JSON batches, {CONNECTIONS} connections, closed loop, {ROUNDS} rounds of {} s; CPU of the server",
        ROUND.as_secs()
    );
    let open = Child::serve(&[]);
    let free = [
        "--auth",
        "required",
        "--terminal-rate",
        "off",
        "--store-rate",
        "off",
    ];
    let asked = Child::serve_prepared(&free, prepare);
    let limited = Child::serve(&["--address-rate", "1/min", "--exempt-networks", "none"]);
    let shape = |head: fn(usize) -> String, status| Shape {
        identity: Identity::Queue,
        head,
        status,
    };
    let none: fn(usize) -> String = |_| String::new();
    let cases = [
        ("accepted, nobody asked", &open, shape(none, 202)),
        (
            "accepted, token remembered",
            &asked,
            shape(|terminal| bearer(&token(terminal, 9_000)), 202),
        ),
        (
            "accepted, static key",
            &asked,
            shape(|_| bearer(&secrets().1), 202),
        ),
        ("429, address", &limited, shape(none, 429)),
        ("401, no credential", &asked, shape(none, 401)),
        (
            "401, no token at all",
            &asked,
            shape(|_| bearer("nonsense"), 401),
        ),
        (
            "401, expired, remembered",
            &asked,
            shape(|terminal| bearer(&token(terminal, -10)), 401),
        ),
        (
            "401, forged signature",
            &asked,
            shape(|terminal| bearer(&forged(terminal)), 401),
        ),
        (
            "403, another store's token",
            &asked,
            shape(|terminal| bearer(&token(terminal + 1, 9_000)), 403),
        ),
        (
            "415, by its head",
            &open,
            shape(|_| "content-encoding: lzma\r\n".to_owned(), 415),
        ),
    ];
    let mut runs: Vec<Vec<Measured>> = cases.iter().map(|_| Vec::new()).collect();
    for ((_, server, shape), runs) in cases.iter().zip(&mut runs) {
        // Within the minute after the one request that the bucket holds.
        if shape.status == 429 {
            let once = Shape {
                status: 202,
                ..shape.clone()
            };
            Closed::of(server, 1, &once).once();
            runs.extend((0..ROUNDS).map(|_| Closed::of(server, CONNECTIONS, shape).run(ROUND / 2)));
        }
    }
    for round in 0..=ROUNDS {
        for ((_, server, shape), runs) in cases.iter().zip(&mut runs) {
            if shape.status == 429 {
                continue;
            }
            let measured = Closed::of(server, CONNECTIONS, shape).run(ROUND / 2);
            if round > 0 {
                runs.push(measured);
            }
        }
    }
    for ((name, ..), runs) in cases.iter().zip(&runs) {
        show(name, runs);
    }
    verification();
}

/// A token whose signature is that of another one: each time it has to be checked.
fn forged(terminal: usize) -> String {
    let (good, other) = (token(terminal, 9_000), token(terminal + 1, 9_000));
    let body = good.rsplit_once('.').expect("three parts").0;
    let signature = other.rsplit_once('.').expect("three parts").1;
    format!("{body}.{signature}")
}

/// What the check of one signature takes, by kind of key.
fn verification() {
    let fixture = |name: &str| {
        let path = format!(
            "{}/crates/token/fixtures/{name}",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::read_to_string(path).expect("a fixture")
    };
    let mut keys = KeySet::default();
    for (kid, key) in jwks::read(fixture("jwks.json").as_bytes())
        .expect("a key set")
        .keys
    {
        keys.insert_foreign(kid, key);
    }
    let own: VerifyingKey = secrets().0.verifying().expect("a key");
    keys.insert(secrets().0.kid().to_owned(), own);
    for (name, token) in [
        ("EdDSA", token(1, 9_000)),
        ("ES256", fixture("es256.jwt").trim().to_owned()),
        ("RS256", fixture("rs256.jwt").trim().to_owned()),
    ] {
        const TIMES: u32 = 2_000;
        let started = Instant::now();
        let good = (0..TIMES).filter(|_| keys.verify(&token).is_ok()).count();
        let us = started.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES);
        println!("{name}: {us:.1} µs to verify a token ({good} of {TIMES} were good)");
    }
}
