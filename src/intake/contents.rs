//! Remembers what the last batches of a queue held, because a resend with other contents is no resend.
//!
//! Each of the last numbers of a queue has a checksum, since the start: 128 bytes for each queue that has
//! posted.

/// Numbers of a queue, up to the highest, whose content is remembered. Unit: numbers.
const CONTENTS: usize = 32;

/// What the batches of a queue's last numbers held, as far as they came since the start.
#[derive(Debug, Default)]
pub(super) struct Contents(Option<Box<[u32; CONTENTS]>>);

impl Contents {
    /// Keeps what the batch of this number holds, unless its place belongs to a later one.
    pub(super) fn keep(&mut self, seq: u64, content: u32, high: u64) {
        if high.saturating_sub(seq) < CONTENTS as u64 {
            self.0.get_or_insert_default()[place_of(seq)] = mark_of(content);
        }
    }

    /// Whether the batch of this number is known to have held something else.
    pub(super) fn differ(&self, seq: u64, content: u32, high: u64) -> bool {
        let kept = self.0.as_ref().map_or(0, |marks| marks[place_of(seq)]);
        high.saturating_sub(seq) < CONTENTS as u64 && kept != 0 && kept != mark_of(content)
    }
}

/// A number's place among the last ones, which no two of them share.
fn place_of(seq: u64) -> usize {
    usize::try_from(seq % CONTENTS as u64).unwrap_or(0)
}

/// What stands for a content; never 0, which stands for nothing known.
fn mark_of(content: u32) -> u32 {
    content.max(1)
}
