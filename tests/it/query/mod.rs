//! What is read back.

mod answers;
mod continuity;
mod exactness;
