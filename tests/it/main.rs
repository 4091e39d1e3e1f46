//! tillwatch as its clients see it: the real program, real sockets, the real engine.
//!
//! One binary, so that there is one link step. Each test starts the program once with its own folder
//! and ports, and asks it many things: a start takes about a second.
//! The modules are marked as tests, so that their helpers may panic as tests may.

#[cfg(test)]
mod durability;
#[cfg(test)]
mod exactly_once;
#[cfg(test)]
mod real_data;
#[cfg(test)]
mod support;
#[cfg(test)]
mod export;
#[cfg(test)]
mod ingest;
#[cfg(test)]
mod query;
#[cfg(test)]
mod process;
