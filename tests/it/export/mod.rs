//! What Prometheus scrapes.

mod coverage;
mod fleet;
mod formats;
mod own;
mod windows;
