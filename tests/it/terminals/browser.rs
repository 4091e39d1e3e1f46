//! The browser of a terminal, by its own word: it is shown, and kept over restarts.

use serde_json::{Value, json};

use crate::support::{Batch, Server};

const EDGE: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.2903.86";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0";

async fn post(server: &Server, terminal_id: &str, user_agent: &str) {
    let batch = Batch::new("a").with("terminal_id", terminal_id);
    let headers = [
        ("content-type", "application/json"),
        ("user-agent", user_agent),
    ];
    let reply = server.post_with(&headers, batch.0.to_string()).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
}

async fn browser_of(server: &Server, terminal_id: &str) -> Value {
    let parameters = [("store_id", "a"), ("terminal_id", terminal_id)];
    let reply = server.get("/api/v1/terminals", &parameters).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["terminals"][0]["browser"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_browser_of_a_terminal_is_known_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_on(folder.path(), &[("TILLWATCH_SEAL_INTERVAL", "1h")]).await;
    post(&server, "till-1", EDGE).await;
    post(&server, "till-2", "curl/8.5.0").await;
    assert_eq!(browser_of(&server, "till-1").await, "Edge 131");
    assert_eq!(browser_of(&server, "till-2").await, Value::Null);
    // From the journal, and from the state file.
    let server = server.kill_and_restart().await;
    assert_eq!(browser_of(&server, "till-1").await, "Edge 131");
    let server = server.restart().await;
    assert_eq!(browser_of(&server, "till-1").await, "Edge 131");
    // Another browser takes its place; a server that posts for the terminal does not.
    post(&server, "till-1", FIREFOX).await;
    post(&server, "till-1", "node").await;
    assert_eq!(browser_of(&server, "till-1").await, "Firefox 133");
    let server = server.restart().await;
    assert_eq!(browser_of(&server, "till-1").await, json!("Firefox 133"));
    server.stop().await;
}
