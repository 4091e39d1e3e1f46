//! The errors that terminals report as events: those that every fleet has, and one that nobody has seen before.

use crate::random::derive_seed;

/// An error of the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppError {
    /// What tells it from others.
    pub fingerprint: u64,
    /// Its kind: a label of the metric `errors`.
    pub label: &'static str,
    /// What was thrown.
    pub type_name: &'static str,
    /// What it said.
    pub message: &'static str,
    /// Where it was thrown.
    pub function: &'static str,
}

/// Label, type, message and function of what goes wrong in every fleet now and then: one of each kind.
const KNOWN: [(&str, &str, &str, &str); 6] = [
    ("network", "NetworkError", "the connection was lost", "post"),
    (
        "storage_quota",
        "QuotaExceededError",
        "no room is left",
        "put",
    ),
    (
        "sync",
        "SyncError",
        "the server did not take it",
        "synchronise",
    ),
    ("auth", "AuthError", "the session has ended", "login"),
    ("script", "TypeError", "x is undefined", "render"),
    ("other", "Error", "the printer does not answer", "print"),
];

impl AppError {
    /// The known error of a kind. It has the same fingerprint in every fleet.
    pub fn known(label: &str) -> Option<Self> {
        let (label, type_name, message, function) =
            *KNOWN.iter().find(|(known, ..)| *known == label)?;
        Some(Self {
            fingerprint: derive_seed(0, label),
            label,
            type_name,
            message,
            function,
        })
    }

    /// An error that nobody has seen before, by its fingerprint.
    pub fn new_one(fingerprint: u64) -> Self {
        Self {
            fingerprint,
            label: "script",
            type_name: "TypeError",
            message: "voucher is not a function",
            function: "redeem",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tillwatch_model::Catalogue;

    use super::*;

    #[test]
    fn every_kind_of_error_is_one_known_error() {
        let catalogue = Catalogue::default();
        let labels = catalogue.named("errors").unwrap().label.unwrap().values;
        let known: Vec<AppError> = labels
            .iter()
            .map(|label| AppError::known(label).unwrap())
            .collect();
        let fingerprints: HashSet<u64> = known.iter().map(|one| one.fingerprint).collect();
        assert_eq!(fingerprints.len(), KNOWN.len());
        assert_eq!(AppError::known("nothing"), None);
    }
}
