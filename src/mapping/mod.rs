//! What foreign names mean: from the name that a client gives a number to a metric, its unit and its label.
//!
//! The rules of the settings (`[[map]]`) come first, in their order; then the catalogue, by its own names; then the sets
//! of rules that are ready for what clients send by themselves (`map_sets`).
//!
//! | file | what |
//! |---|---|
//! | `rules.rs` | one rule, and all of them |
//! | `glob.rs` | names with `*` |
//! | `units.rs` | from the unit of a client to that of a metric |
//! | `sets.rs` | rules that are ready |

mod glob;
mod rules;
mod sets;
mod units;

pub use glob::Glob;
pub use rules::{Door, Heard, Label, Lookup, Mapping, Meaning, Rule, Scale};
pub use sets::Set;
pub use units::{factor, is_known};

/// Looks up in the catalogue of this release.
#[cfg(test)]
pub(crate) fn lookup(mapping: &Mapping, door: Door) -> Lookup<'_> {
    use std::sync::LazyLock;
    use tillwatch_model::Catalogue;

    static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(Catalogue::default);
    Lookup {
        catalogue: &CATALOGUE,
        mapping,
        door,
        heard: None,
    }
}
