//! How values are written: durations, bytes, lists, log formats.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::auth::Mode;
use crate::logging::Format;

/// A duration written as `10s`, `5m`, `2h`, `1d`, `250ms`, or a sum of them such as `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A number of bytes written as `65536`, `64KiB`, `16MiB`, `4GiB` (or `MB`: 1,000,000).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl Bytes {
    /// The value as a number of bytes of memory.
    #[must_use]
    pub fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A list written with commas, or as an array in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List(pub Vec<String>);

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text
        .trim()
        .trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let unit = text.trim().strip_prefix(digits)?;
    Some((digits.trim().parse().ok()?, unit))
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let explain = || format!("{text:?} is not a duration; write 250ms, 10s, 5m, 2h or 1d");
        let duration = humantime::parse_duration(text.trim())
            .ok()
            .ok_or_else(explain)?;
        // A setting is a whole number of milliseconds.
        if duration.subsec_nanos() % 1_000_000 == 0 {
            Ok(Self(duration))
        } else {
            Err(explain())
        }
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let explain =
            || format!("{text:?} is not a number of bytes; write 65536, 64KiB, 16MiB or 4GiB");
        let (number, unit) = number_and_unit(text).ok_or_else(explain)?;
        let unit_bytes: u64 = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return Err(explain()),
        };
        number.checked_mul(unit_bytes).map(Self).ok_or_else(explain)
    }
}

impl FromStr for List {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        Ok(Self(parts.map(str::to_owned).collect()))
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is not a log format; write text or json")),
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "required" => Ok(Self::Required),
            _ => Err(format!("{text:?} cannot be; write off or required")),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (1 << 40, "TiB"),
            (1 << 30, "GiB"),
            (1 << 20, "MiB"),
            (1 << 10, "KiB"),
        ];
        formatter.write_str(&in_units(self.0, &units, ""))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let units = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1_000, "s"),
        ];
        formatter.write_str(&in_units(ms, &units, "ms"))
    }
}

/// A value as it would be written in the file; empty: none.
pub(super) trait Written {
    /// What stands for a value in the help.
    const NAME: &'static str;

    fn written(&self) -> String;
}

macro_rules! written {
    ($($type:ty as $name:literal: $self:ident => $text:expr;)*) => {
        $(impl Written for $type {
            const NAME: &'static str = $name;

            fn written(&$self) -> String { $text }
        })*
    };
}

written! {
    PathBuf as "PATH": self => self.display().to_string();
    SocketAddr as "ADDR": self => self.to_string();
    String as "TEXT": self => self.clone();
    bool as "true|false": self => self.to_string();
    usize as "NUMBER": self => self.to_string();
    u32 as "NUMBER": self => self.to_string();
    Bytes as "BYTES": self => self.to_string();
    Span as "SPAN": self => self.to_string();
    List as "LIST": self => self.0.join(",");
    Mode as "off|required": self => format!("{self:?}").to_lowercase();
    Format as "text|json": self => format!("{self:?}").to_lowercase();
}

impl<T: Written> Written for Option<T> {
    const NAME: &'static str = T::NAME;

    fn written(&self) -> String {
        self.as_ref().map_or_else(String::new, Written::written)
    }
}

/// A number in the largest unit that divides it.
fn in_units(number: u64, units: &[(u64, &str)], smallest: &str) -> String {
    let fits = |(size, _): &&(u64, &str)| number >= *size && number.is_multiple_of(*size);
    match units.iter().find(fits) {
        Some((size, unit)) => format!("{}{unit}", number / size),
        None => format!("{number}{smallest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_of_milliseconds() {
        let read = |text: &str| text.parse::<Span>().map(|span| span.0.as_millis());
        assert_eq!(read(" 250ms "), Ok(250));
        assert_eq!(read("1h30m"), Ok(5_400_000));
        assert_eq!(read("7d"), Ok(604_800_000));
        for bad in ["", "90", "often", "-1s", "10us", "99999999999999999999d"] {
            assert!(read(bad).is_err_and(|error| error.contains("10s")), "{bad}");
        }
    }
}
