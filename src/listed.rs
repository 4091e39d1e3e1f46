//! Declares enums together with the list of all their values.
//!
//! A list that is kept by hand beside an enum is right until somebody adds a value: the new one is then
//! missing where counters begin at 0, where names are read back, and where tables are gone through.

/// Declares an enum with `ALL`, the array of its values in the order of their numbers (`as usize`), and,
/// if its values are given names, with `name()`.
macro_rules! listed {
    ($(#[$about:meta])* $vis:vis enum $name:ident { $($(#[$of_one:meta])* $variant:ident,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name { $($(#[$of_one])* $variant,)+ }

        impl $name {
            /// Every value, in the order of their numbers.
            $vis const ALL: [Self; [$(stringify!($variant)),+].len()] = [$(Self::$variant),+];
        }
    };
    ($(#[$about:meta])* $vis:vis enum $name:ident { $($(#[$of_one:meta])* $variant:ident = $text:literal,)+ }) => {
        $crate::listed::listed! {
            $(#[$about])*
            $vis enum $name { $($(#[$of_one])* $variant,)+ }
        }

        impl $name {
            /// The value's name in metrics, in answers and at rest.
            #[must_use]
            $vis const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}
pub(crate) use listed;

#[cfg(test)]
mod tests {
    listed! {
        /// Three of them.
        enum Three {
            /// The first.
            One = "one",
            /// The second.
            Two = "two",
            /// The third.
            Other = "other",
        }
    }

    #[test]
    fn the_list_has_every_value_at_the_place_of_its_number() {
        assert_eq!(Three::ALL, [Three::One, Three::Two, Three::Other]);
        for (at, value) in Three::ALL.into_iter().enumerate() {
            assert_eq!(value as usize, at);
        }
        assert_eq!(Three::ALL.map(Three::name), ["one", "two", "other"]);
    }
}
