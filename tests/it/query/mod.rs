//! What is read back.

mod answers;
mod continuity;
mod crowd;
mod errors;
mod exactness;
