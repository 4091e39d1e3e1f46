//! What is read back.

mod answers;
mod continuity;
mod crowd;
mod errors;
mod fleet;
mod live;
mod exactness;
mod openapi;
