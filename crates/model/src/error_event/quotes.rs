//! Where quoted text begins and ends. Apostrophes look like quotation marks, and quoted text may be JSON, with marks
//! of its own.

/// What stands in place of what was taken out. No rule takes it for a part of anything.
pub(super) const MARK: char = '*';

/// Where text ends that a mark opens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// At the first mark without a letter behind it, else at the last mark, else with the text, which was cut off:
    /// what is quoted may be JSON, with marks of its own.
    LikeJson,
    /// At the first mark that closes, else with the text.
    AtFirst,
    /// At the first mark that closes. Without one, the mark meant something else.
    AtFirstIfAny,
    /// The same, but apostrophes look like the mark: one with a letter before it opens nothing, and one with a
    /// letter behind it closes nothing.
    LikeApostrophe,
}

/// A mark that opens, and those that close.
struct Quote {
    opens: char,
    closes: &'static [char],
    ends: Ends,
}

const fn quote(opens: char, closes: &'static [char], ends: Ends) -> Quote {
    Quote {
        opens,
        closes,
        ends,
    }
}

const QUOTES: [Quote; 9] = [
    quote('"', &['"'], Ends::LikeJson),
    quote('`', &['`'], Ends::LikeJson),
    quote('\u{201c}', &['\u{201d}'], Ends::AtFirst),
    quote('\u{201e}', &['\u{201c}', '\u{201d}'], Ends::AtFirst),
    quote('\u{ab}', &['\u{bb}'], Ends::AtFirstIfAny),
    quote('\u{bb}', &['\u{ab}'], Ends::AtFirstIfAny),
    quote('\u{2018}', &['\u{2019}'], Ends::LikeApostrophe),
    quote('\u{201a}', &['\u{2018}', '\u{2019}'], Ends::LikeApostrophe),
    quote('\'', &['\''], Ends::LikeApostrophe),
];

/// Whether this is a letter or a digit. The ranges are written out, because the tables of Unicode differ between
/// the versions that browsers and this program know.
pub(super) fn is_word(char: char) -> bool {
    matches!(char,
        'A'..='Z' | 'a'..='z' | '0'..='9'
        | '\u{c0}'..='\u{1fff}' | '\u{2c00}'..='\u{2dff}' | '\u{3040}'..='\u{d7ff}'
        | '\u{f900}'..='\u{faff}' | '\u{ff10}'..='\u{ffdc}' | '\u{10000}'..='\u{1efff}'
        | '\u{20000}'..='\u{3ffff}')
}

/// Puts one mark in place of each quoted text. If the text was cut off, what nothing closes is quoted, too.
pub(super) fn without_quoted(text: &[char], is_cut: bool) -> Vec<char> {
    let mut kept = Vec::with_capacity(text.len());
    // A mark that nothing closes is looked for once, so that the time stays linear.
    let mut is_never_closed = [false; QUOTES.len()];
    let mut at = 0;
    while let Some(char) = text.get(at) {
        // Most characters are none that opens anything.
        if char.is_ascii_alphanumeric() || *char == ' ' {
            kept.push(*char);
            at += 1;
            continue;
        }
        let opened = QUOTES
            .iter()
            .zip(&mut is_never_closed)
            .find(|(quote, _)| quote.opens == *char);
        let end = opened.and_then(|(quote, is_never_closed)| {
            let is_apostrophe =
                quote.ends == Ends::LikeApostrophe && is_word_at(text, at.checked_sub(1));
            if *is_never_closed || is_apostrophe {
                return None;
            }
            // What closes it may stand in what was not read.
            let end = quote
                .end(text, at + 1)
                .or_else(|| is_cut.then_some(text.len()));
            *is_never_closed = end.is_none();
            end
        });
        if let Some(end) = end {
            kept.push(MARK);
            at = end;
        } else {
            kept.push(*char);
            at += 1;
        }
    }
    kept
}

/// Puts a space in place of each quotation mark that is left, apart from apostrophes between letters.
pub(super) fn without_stray(text: &[char]) -> Vec<char> {
    let is_kept = |at: usize, char: char| match char {
        '\'' | '\u{2019}' => is_word_at(text, at.checked_sub(1)) && is_word_at(text, Some(at + 1)),
        other => other.is_ascii_alphanumeric() || !is_quote(other),
    };
    text.iter()
        .enumerate()
        .map(|(at, char)| if is_kept(at, *char) { *char } else { ' ' })
        .collect()
}

/// Whether this is a quotation mark or an apostrophe.
fn is_quote(char: char) -> bool {
    QUOTES
        .iter()
        .any(|quote| quote.opens == char || quote.closes.contains(&char))
}

fn is_word_at(text: &[char], at: Option<usize>) -> bool {
    at.and_then(|at| text.get(at))
        .is_some_and(|char| is_word(*char))
}

impl Quote {
    /// The place behind the text that begins at `start`.
    fn end(&self, text: &[char], start: usize) -> Option<usize> {
        let closes = |at: &usize| {
            let is_mark = text.get(*at).is_some_and(|char| self.closes.contains(char));
            is_mark && text.get(at - 1) != Some(&'\\')
        };
        let mut marks = (start..text.len()).filter(closes);
        let ends_word = |at: &usize| !is_word_at(text, Some(at + 1));
        let behind = |at: usize| at + 1;
        match self.ends {
            Ends::LikeJson => {
                let end = marks.clone().find(ends_word);
                let end = end.or_else(|| marks.next_back());
                Some(end.map_or(text.len(), behind))
            }
            Ends::AtFirst => Some(marks.next().map_or(text.len(), behind)),
            Ends::AtFirstIfAny => marks.next().map(behind),
            Ends::LikeApostrophe => marks.find(ends_word).map(behind),
        }
    }
}
