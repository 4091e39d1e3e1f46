//! Names with `*`, which stands for any characters, also none.

use std::fmt;

/// A name, or many of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Box<str>);

impl Glob {
    /// A glob of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Whether the glob stands for this name. Takes a time that grows with the product of their lengths at worst.
    #[must_use]
    pub fn is_match(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else {
            return *self.0 == *name;
        };
        let Some(mut name) = name.strip_prefix(first) else {
            return false;
        };
        let mut parts = rest.split('*').peekable();
        // Of a part in the middle the first place is as good as any later one; the last part has to end the name.
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return name.ends_with(part);
            }
            match name.split_once(part) {
                Some((_, after)) => name = after,
                None => return false,
            }
        }
        true
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (glob, name, expected) in [
            ("a", "a", true),
            ("a", "b", false),
            ("", "", true),
            ("*", "", true),
            ("*", "anything", true),
            ("pos.*", "pos.print", true),
            ("pos.*", "pos.", true),
            ("pos.*", "po", false),
            ("*.print", "pos.print", true),
            ("*.print", "pos.print.x", false),
            ("pos.*.ms", "pos.a.b.ms", true),
            ("pos.*.ms", "pos.ms", false),
            ("a*a", "a", false),
            ("a*b*b", "ab", false),
            ("a*b*b", "abb", true),
            ("a**b", "ab", true),
            ("ä*", "äöü", true),
        ] {
            assert_eq!(Glob::new(glob).is_match(name), expected, "{glob} {name}");
        }
    }
}
