//! Tests of the journal as a whole.

mod basics;
mod crashes;
mod damage;
mod faults;
mod fixtures;
mod kept;
mod missing;
mod model;
mod power_cut;
mod simulated;
mod support;
