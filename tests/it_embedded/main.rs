//! The embedded engine as its users see it: a real process, the real library, real HTTP.
//!
//! Each test has its own process, folder and port. Without libchdb they fail and say how to get it.
//! The modules are marked as tests, so that their helpers may panic as tests may.

#[cfg(test)]
mod fences;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod inserts;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod reads;
#[cfg(test)]
mod supervised;
