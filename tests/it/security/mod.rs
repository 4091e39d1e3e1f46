//! Who may post and who may ask, and what those can do who may not.
//!
//! | file | what |
//! |---|---|
//! | `tokens.rs` | tokens, good and bad, and the keys that sign them |
//! | `renewal.rs` | a till that was offline for a week; the end of tokens |
//! | `keys.rs` | static keys, applications, beacons, keys of another issuer |
//! | `admin.rs` | scopes of the admin listener, commands, the audit log |
//! | `console.rs` | signing in at the console |
//! | `isolation.rs` | store A against store B |
//! | `limits.rs` | floods, proxies, backlogs |
//! | `planted.rs` | names, cards, tokens and addresses, looked for on the disk |
//! | `tls.rs` | HTTPS on both listeners, and towards ClickHouse |

mod admin;
mod console;
mod isolation;
mod keys;
mod limits;
mod planted;
mod renewal;
mod tls;
mod tokens;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tillwatch_token::{AUDIENCE, Claims, SigningKey};

use crate::support::{Batch, Reply, Server, now_ms, run, said};

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `tillwatch token …`; what it printed.
async fn token(subcommand: &[&str], folder: &Path, more: &[&str]) -> String {
    command("token", subcommand, folder, more).await
}

/// Runs a command on a data folder; what it printed.
async fn command(name: &str, subcommand: &[&str], folder: &Path, more: &[&str]) -> String {
    let mut arguments: Vec<String> = subcommand.iter().map(|&word| word.to_owned()).collect();
    arguments.extend(["--data-dir".to_owned(), folder.display().to_string()]);
    arguments.extend(more.iter().map(|&word| word.to_owned()));
    let output = run(name, arguments).await;
    let (is_good, text) = said(&output);
    assert!(is_good, "{text}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Makes a static key.
async fn new_key(folder: &Path, more: &[&str]) -> String {
    command("key", &["new"], folder, more).await
}

async fn issue(folder: &Path, more: &[&str]) -> String {
    token(&["issue"], folder, more).await
}

/// A collector that asks for tokens and has a key.
async fn start(folder: &Path) -> Server {
    token(&["key", "new"], &folder.join("data"), &[]).await;
    Server::start_on(folder, &[("TILLWATCH_AUTH", "required")]).await
}

async fn post(server: &Server, token: &str, body: &Value) -> Reply {
    let header = format!("Bearer {token}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", header.as_str()),
    ];
    server.post_with(&headers, body.to_string()).await
}

fn batch(store_id: &str, terminal_id: &str) -> Batch {
    Batch::new(store_id)
        .with("terminal_id", terminal_id)
        .value_now("lcp_ms", 1.0)
}

fn outcome(reply: &Reply) -> (u16, String) {
    let code = if reply.status == 202 {
        String::new()
    } else {
        reply.code()
    };
    (reply.status, code)
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// The key that signs, from its file.
fn key_of(data: &Path) -> SigningKey {
    let entry = std::fs::read_dir(data.join("token_keys")).unwrap().next();
    let text = std::fs::read_to_string(entry.unwrap().unwrap().path()).unwrap();
    SigningKey::from_json(&text).unwrap()
}

fn claims(store: &str, from_s: i64, until_s: i64) -> Claims {
    let now_s = now_ms() / 1_000;
    Claims {
        aud: AUDIENCE.to_owned(),
        store: store.to_owned(),
        terminal: None,
        cohort: None,
        jti: "t".to_owned(),
        fam: None,
        iat: now_s + from_s,
        auth_time: None,
        nbf: None,
        exp: now_s + until_s,
    }
}

/// Whether a file below a folder holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            holds(&path, bytes)
        } else {
            let content = std::fs::read(&path).unwrap_or_default();
            content.windows(bytes.len()).any(|window| window == bytes)
        }
    })
}

/// Posts with a token until the collector answers so.
async fn until(server: &Server, token: &str, status: u16) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let reply = post(server, token, &batch("store-1", "till-1").0).await;
        if reply.status == status {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{}", reply.text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
