//! tillwatch as its clients see it: the real program, real sockets, the real engine.
//!
//! One binary, so that there is one link step. Each test starts the program once with its own folder
//! and ports, and asks it many things: a start takes about a second.
//! The modules are marked as tests, so that their helpers may panic as tests may.

#![cfg_attr(
    test,
    expect(
        clippy::too_many_lines,
        clippy::type_complexity,
        reason = "tables of cases, read from top to bottom"
    )
)]
#![cfg_attr(
    test,
    expect(
        clippy::float_cmp,
        clippy::string_slice,
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small whole numbers and plain text; a test that is wrong here fails"
    )
)]

#[cfg(test)]
mod clock;
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
mod observe;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod query;
#[cfg(test)]
mod rollout;
#[cfg(test)]
mod terminals;
#[cfg(test)]
mod security;
#[cfg(test)]
mod process;
#[cfg(test)]
mod scenarios;
