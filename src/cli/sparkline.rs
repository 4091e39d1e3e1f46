//! A row of windows in a few characters, with gaps where nothing was measured.

/// From the least value of a row to its greatest.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The characters to draw with where only ASCII can be shown.
const ASCII: [char; 8] = ['.', ':', '-', '=', '+', '*', '%', '#'];
/// Wider than this, neighbours share a character.
const WIDTH_MAX: usize = 60;

/// How a row is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Blocks,
    Ascii,
}

/// One character a value, or for several neighbours their greatest; `·`, in ASCII `_`, for `None`, where
/// there is no data.
pub(super) fn sparkline(values: &[Option<f64>], style: Style) -> String {
    let (glyphs, gap) = match style {
        Style::Blocks => (BLOCKS, '·'),
        Style::Ascii => (ASCII, '_'),
    };
    let share = values.len().div_ceil(WIDTH_MAX).max(1);
    let values: Vec<Option<f64>> = values.chunks(share).map(greatest).collect();
    let known = || values.iter().flatten().copied();
    let (least, most) = (
        known().fold(f64::INFINITY, f64::min),
        known().fold(f64::NEG_INFINITY, f64::max),
    );
    let glyph = |value: &Option<f64>| {
        let Some(value) = value else { return gap };
        let range = most - least;
        let part = if range > 0.0 {
            (value - least) / range
        } else {
            0.0
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 7"
        )]
        let at = (part * 7.0).round().clamp(0.0, 7.0) as usize;
        glyphs[at]
    };
    values.iter().map(glyph).collect()
}

fn greatest(share: &[Option<f64>]) -> Option<f64> {
    share.iter().flatten().copied().reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_goes_from_low_to_high_and_shows_gaps() {
        let values = [Some(1.0), None, Some(8.0), Some(4.5)];
        assert_eq!(sparkline(&values, Style::Blocks), "▁·█▅");
        assert_eq!(sparkline(&values, Style::Ascii), "._#+");
        assert_eq!(sparkline(&[Some(5.0), Some(5.0)], Style::Blocks), "▁▁");
        assert_eq!(sparkline(&[None, None], Style::Blocks), "··");
        assert_eq!(sparkline(&[], Style::Blocks), "");
    }

    #[test]
    fn a_peak_is_seen_however_wide_the_row() {
        let mut values = vec![Some(1.0); 1_000];
        values[777] = Some(9.0);
        let row = sparkline(&values, Style::Blocks);
        assert!(row.chars().count() <= WIDTH_MAX);
        assert_eq!(row.matches('█').count(), 1);
    }
}
