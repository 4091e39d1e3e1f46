//! Requests that wait for a disk that hangs: for how long, and with what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;

use super::{Collector, batch, until};
use crate::doors::Limits;
use crate::intake::Settings;

fn start(acknowledge_max: Duration) -> Collector {
    let settings = Settings {
        acknowledge_max,
        ..Settings::default()
    };
    Collector::start(Limits::default(), settings)
}

/// Bytes that say when they are let go.
struct Watched(Vec<u8>, Arc<AtomicBool>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_the_disk_holds_what_is_written_and_no_more() {
    let collector = start(Duration::from_secs(60));
    collector.stage.disk.hang();
    let same = vec![batch("many", "{}"); 500].join(",");
    let pairs = vec!["[0,1]"; 4_096].join(",");
    let histograms = vec![format!(r#"{{"buckets":[{pairs}]}}"#); 80].join(",");
    let pairs = batch("pairs", "{}").replace(
        r#""samples""#,
        &format!(r#""histograms":[{histograms}],"samples""#),
    );
    for (name, text) in [
        ("samples", batch("till", &vec!["{}"; 50_000].join(","))),
        ("batches", format!(r#"{{"batches":[{same}]}}"#)),
        ("histograms", pairs),
    ] {
        let is_let_go = Arc::new(AtomicBool::new(false));
        let bytes = Watched(text.into_bytes(), Arc::clone(&is_let_go));
        let before = collector.set_aside();
        let post = tokio::spawn(collector.post(Body::from(Bytes::from_owner(bytes)), &[]));
        // The batches borrow from the body: where it is gone, so are they.
        until(name, || is_let_go.load(Ordering::SeqCst)).await;
        until(name, || collector.stage.queued() > 0).await;
        until(name, || collector.set_aside() < before + 16 * 1024).await;
        // The post's client goes away: what is written still waits.
        post.abort();
        assert!(post.await.is_err_and(|error| error.is_cancelled()));
        assert!(collector.set_aside() > before + 100, "{name}");
    }
    collector.stage.disk.answer();
    until("all is given back", || collector.set_aside() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_waits_no_longer_than_the_first_post() {
    let key: &[(&str, &str)] = &[("idempotency-key", "k")];
    let keyed = r#"{"v":1,"store_id":"s","terminal_id":"t","consent":true,"samples":[{}]}"#;
    let queued = batch("till", "{}");
    for (headers, text) in [(&[][..], queued.as_str()), (key, keyed)] {
        let collector = start(Duration::from_millis(300));
        let post = || tokio::spawn(collector.post(Body::from(text.to_owned()), headers));
        let waiting = || collector.stage.waiting();
        collector.stage.disk.hang();
        let first = post();
        until("the first is on its way", || collector.stage.queued() > 0).await;
        let second = post();
        let goes_away = post();
        until("both wait for it", || waiting() == 2).await;
        goes_away.abort();
        until("who goes away waits no longer", || waiting() == 1).await;
        for post in [first, second] {
            let answer = tokio::time::timeout(Duration::from_secs(5), post).await;
            let (status, text) = answer.expect("an answer in time").unwrap();
            assert_eq!((status, text.contains("\"busy\"")), (503, true), "{text}");
        }
        assert_eq!(waiting(), 0, "nobody is left in a list");
        collector.stage.disk.answer();
        until("it is durable", || collector.stage.queued() == 0).await;
        let (status, _) = post().await.unwrap();
        assert_eq!(status, 202);
    }
}
