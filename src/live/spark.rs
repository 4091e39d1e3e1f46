//! The last hour of a store's synchronisations, a character a minute.

/// Minutes that are kept.
pub const MINUTES: usize = 60;
/// The characters of 64 steps, from the least to the greatest.
const STEPS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// The steps are equal on a logarithmic scale between these. Unit: ms.
const LOWEST_MS: f64 = 200.0;
const HIGHEST_MS: f64 = 12_000.0;
/// Stands for a minute in which nothing was measured.
pub(super) const NONE: u8 = b'.';

/// The 95th percentiles of synchronisations, minute by minute: the last character is of the latest minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spark([u8; MINUTES]);

impl Default for Spark {
    fn default() -> Self {
        Self([NONE; MINUTES])
    }
}

impl Spark {
    /// So many minutes have begun.
    pub(super) fn move_on(&mut self, minutes: usize) {
        let minutes = minutes.min(MINUTES);
        self.0.rotate_left(minutes);
        if let Some(new) = self.0.get_mut(MINUTES - minutes..) {
            new.fill(NONE);
        }
    }

    /// Puts the value of a minute, 0 being the latest one.
    pub(super) fn put(&mut self, back: usize, value_ms: Option<f64>) {
        let at = MINUTES.checked_sub(back + 1);
        if let Some(slot) = at.and_then(|at| self.0.get_mut(at)) {
            *slot = value_ms.map_or(NONE, step);
        }
    }

    /// Puts the value of a minute of which nothing is known, 0 being the latest one; says whether that was so.
    pub(super) fn fill(&mut self, back: usize, value_ms: f64) -> bool {
        let at = MINUTES.checked_sub(back.saturating_add(1));
        match at.and_then(|at| self.0.get_mut(at)) {
            Some(slot) if *slot == NONE => {
                *slot = step(value_ms);
                true
            }
            _ => false,
        }
    }

    /// As it is sent.
    pub(super) fn text(&self) -> &str {
        // All of them are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The character of a minute, 0 being the latest one.
    pub(super) fn at(&self, back: usize) -> char {
        let at = MINUTES.checked_sub(back + 1);
        char::from(at.and_then(|at| self.0.get(at)).copied().unwrap_or(NONE))
    }
}

fn step(value_ms: f64) -> u8 {
    let part = (value_ms / LOWEST_MS).ln() / (HIGHEST_MS / LOWEST_MS).ln();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the steps"
    )]
    let at = (part.clamp(0.0, 1.0) * 63.0).round() as usize;
    STEPS.get(at).copied().unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_a_character_and_moves_to_the_left() {
        let mut spark = Spark::default();
        spark.put(0, Some(200.0));
        spark.put(1, Some(50_000.0));
        assert!(spark.text().ends_with("./A"), "{}", spark.text());
        spark.move_on(2);
        assert!(spark.text().ends_with("/A.."), "{}", spark.text());
        spark.put(0, Some(1_549.0));
        assert_eq!(spark.at(0), 'g');
        assert_eq!(spark.at(2), 'A');
        assert!(spark.fill(1, 200.0) && !spark.fill(1, 9_000.0) && !spark.fill(0, 200.0));
        assert!(!spark.fill(MINUTES, 200.0) && !spark.fill(usize::MAX, 200.0));
        assert!(spark.text().ends_with("Ag"), "{}", spark.text());
        spark.move_on(1_000);
        assert_eq!(spark.text(), ".".repeat(MINUTES));
    }
}
