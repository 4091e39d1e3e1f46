//! A batch on its way to the disk, and the other posts of it that wait until that is over.
//!
//! There is no list of waiting requests: each one holds an end of a channel and leaves by dropping it, when
//! its time is up or its client has gone.

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::intake::refusal::Refusal;

/// Held while a batch is on its way; dropping it wakes whoever waits.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Option<watch::Sender<()>>);

/// Waits for a batch that another request has under way.
#[derive(Debug)]
pub struct Waiter(watch::Receiver<()>);

impl UnderWay {
    /// Makes one more post wait. The first of them makes the channel: most batches have none.
    pub(super) fn waiter(&mut self) -> Waiter {
        let sender = self.0.get_or_insert_with(|| watch::channel(()).0);
        Waiter(sender.subscribe())
    }

    /// How many posts wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.0.as_ref().map_or(0, watch::Sender::receiver_count)
    }
}

impl Waiter {
    /// Waits until the other request's append is over, however it went.
    ///
    /// # Errors
    /// [`Refusal::Busy`] at the deadline.
    pub(super) async fn over(mut self, deadline: Instant) -> Result<(), Refusal> {
        // Nothing is ever sent: the channel is closed.
        let closed = timeout_at(deadline, self.0.changed()).await;
        closed.map_or(Err(Refusal::Busy), |_closed| Ok(()))
    }
}
