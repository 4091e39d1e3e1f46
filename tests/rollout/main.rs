//! What `src/rollout/` promises: the numbers of its method, its properties, its verdicts, and how often it errs.
//!
//! | file | what |
//! |---|---|
//! | `vectors.rs`, `vectors.py` | the same numbers computed in another way, kept in `tests/fixtures/rollout.json` |
//! | `properties.rs` | what holds for any stores |
//! | `verdicts.rs` | one test for each rule |
//! | `plan.rs` | the plan file and the command |
//! | `fleet.rs` | a simulated fleet whose stores differ, drift and have bad days |
//! | `simulation.rs` | how often a verdict errs in it |
//! | `support.rs` | evidence by hand |
//!
//! The modules are marked as tests, so that their helpers may panic as tests may.

#[cfg(test)]
mod fleet;
#[cfg(test)]
mod placebo;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod support;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod verdicts;
