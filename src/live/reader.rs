//! One who reads a stream: which topics, and how far.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::live::packed::{GZIP_HEADER, Packed, push};
use crate::live::{HEARTBEAT, Live};

/// What a stream says when there is nothing to say.
static STILL_HERE: LazyLock<Packed> = LazyLock::new(|| Packed::of(": still here\n\n".to_owned()));
/// The last word of a stream.
static BYE: LazyLock<Packed> = LazyLock::new(|| {
    let mut text = String::new();
    push(&mut text, "bye", r#"{"why":"the collector stops"}"#);
    Packed::of(text)
});

/// What is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topics {
    /// The rows of all stores.
    pub has_fleet: bool,
    /// The path of batches.
    pub has_pipeline: bool,
    /// One store.
    pub store_id: Option<String>,
}

/// One who reads a stream.
#[derive(Debug)]
pub struct Reader {
    /// Which of those who read at once.
    place: u32,
    pub(super) live: Arc<Live>,
    topics: Topics,
    is_gzip: bool,
    has_begun: bool,
    /// The last frame of the fleet that was read.
    seq: Option<u64>,
    store_version: u64,
    pulse: Option<u64>,
    has_left: bool,
    bell: watch::Receiver<()>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.live.leave(self.place, self.topics.store_id.as_deref());
    }
}

impl Reader {
    pub(super) fn new(
        live: Arc<Live>,
        topics: Topics,
        seq: Option<u64>,
        (place, is_gzip): (u32, bool),
    ) -> Self {
        Self {
            place,
            bell: live.bell.listen(place as usize),
            live,
            topics,
            is_gzip,
            has_begun: false,
            seq,
            store_version: 0,
            pulse: None,
            has_left: false,
        }
    }

    /// What is to be sent next; waits until there is something. `None`: the collector stops, and has said so.
    pub async fn next(&mut self) -> Option<Bytes> {
        if !self.has_begun {
            self.has_begun = true;
            if self.is_gzip {
                return Some(Bytes::from_static(&GZIP_HEADER));
            }
        }
        loop {
            // Whatever comes from now on is noticed below.
            self.bell.mark_unchanged();
            if self.live.is_over.load(Ordering::Acquire) {
                let is_said = std::mem::replace(&mut self.has_left, true);
                return (!is_said).then(|| BYE.bytes(self.is_gzip));
            }
            let news = self.news().await;
            if !news.is_empty() {
                return Some(self.join(&news));
            }
            if timeout(HEARTBEAT, self.bell.changed()).await.is_err() {
                return Some(STILL_HERE.bytes(self.is_gzip));
            }
        }
    }

    fn join(&self, news: &[Packed]) -> Bytes {
        if let [one] = news {
            return one.bytes(self.is_gzip);
        }
        let parts = news.iter().map(|packed| packed.bytes(self.is_gzip));
        Bytes::from(parts.fold(Vec::new(), |mut all, part| {
            all.extend_from_slice(&part);
            all
        }))
    }

    async fn news(&mut self) -> Vec<Packed> {
        let mut news = Vec::new();
        if self.topics.has_fleet {
            let frames = self.seq.and_then(|seq| self.live.frames_after(seq));
            let (seq, frames) = match frames {
                Some(frames) => frames,
                None => self.live.snapshot().await,
            };
            self.seq = Some(seq);
            news.extend(frames);
        }
        if let Some(store_id) = &self.topics.store_id
            && let Some((version, packed)) = self.live.store(store_id, self.store_version).await
        {
            self.store_version = version;
            news.push(packed);
        }
        if self.topics.has_pipeline
            && let Some((count, packed)) = self.live.pulse_after(self.pulse).await
        {
            self.pulse = Some(count);
            news.push(packed);
        }
        news
    }
}
