//! What is read back.

mod answers;
mod continuity;
mod crowd;
mod errors;
mod fleet;
mod exactness;
mod openapi;
