//! What Prometheus scrapes.

mod fleet;
mod own;
mod windows;
