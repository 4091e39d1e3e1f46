//! Moves long work to where it holds up no other request.

use tokio::sync::Semaphore;

/// A turn for each processor.
#[derive(Debug)]
pub struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Semaphore::new(processors))
    }
}

impl Turns {
    /// Does work; what takes long, where it holds up no other request, and as much at once as there are
    /// processors: no more would be done sooner, and each takes memory that bodies have no room set
    /// aside for, such as the window of a decoder.
    pub async fn aside<R>(&self, is_long: bool, work: impl FnOnce() -> R) -> R {
        if !is_long {
            return work();
        }
        // The semaphore is never closed; and without a turn the work would only be slower.
        let turn = self.0.acquire().await;
        let done = tokio::task::block_in_place(work);
        drop(turn);
        // The rest of the request goes on beside the others again: this thread has given its place away.
        tokio::task::yield_now().await;
        done
    }
}
