//! How values are written: durations, bytes, lists, log formats.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use tillwatch_model::dimension::is_identifier;

use crate::auth::{JwksSource, Mode};
use crate::logging::Format;
use crate::mapping::Set;

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

/// Sets of rules that are ready, written with commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapSets(pub Vec<Set>);

/// Whether a payload must say itself that the person consented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// It must.
    Required,
    /// The shop asks for consent elsewhere.
    Assumed,
}

impl FromStr for Consent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "required" => Ok(Self::Required),
            "assumed" => Ok(Self::Assumed),
            _ => Err(format!("{text:?} cannot be; write required or assumed")),
        }
    }
}

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

/// How often something may happen, written as `20/min`, `0.5/s`, `100/h`, or `off`: the time between two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// `None`: no limit.
    pub interval: Option<Duration>,
}

/// Rates by store, written as `store-001=600/min, store-002=off`.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreRates(pub BTreeMap<String, Rate>);

/// Networks written with commas: `10.0.0.0/8, 2001:db8::/32`, or single addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks(pub Vec<IpNet>);

/// Where a key set comes from: a file, or a URL. Any text is one until it is checked: the command line would repeat a
/// text that it refuses, and a URL may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwks(pub JwksSource);

/// The rarest and the most frequent that a limit can be. A bucket holds a minute's worth.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
const INTERVAL_MIN: Duration = Duration::from_micros(60);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let explain = || {
            format!(
                "{text:?} is not a rate between 1/min and 16666/s; write 20/min, 0.5/s, 100/h or off"
            )
        };
        if text.trim() == "off" {
            return Ok(Self { interval: None });
        }
        let (number, unit) = text.split_once('/').ok_or_else(explain)?;
        let number: f64 = number.trim().parse().map_err(|_none| explain())?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "min" | "m" => 60.0,
            "h" => 3_600.0,
            _ => return Err(explain()),
        };
        let interval = Duration::try_from_secs_f64(seconds / number).map_err(|_none| explain())?;
        if (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
            Ok(Self {
                interval: Some(interval),
            })
        } else {
            Err(explain())
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.interval {
            None => formatter.write_str("off"),
            Some(interval) => {
                let per_min = 60.0 / interval.as_secs_f64();
                // What was written as a whole number is one again.
                write!(formatter, "{}/min", (per_min * 1_000.0).round() / 1_000.0)
            }
        }
    }
}

impl FromStr for StoreRates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let List(parts) = text.parse()?;
        let rates = parts.into_iter().map(|part| {
            let explain =
                || format!("{part:?} is not a store and its rate; write store-001=600/min");
            let (store_id, rate) = part.split_once('=').ok_or_else(explain)?;
            let store_id = store_id.trim();
            if !is_identifier(store_id) {
                return Err(explain());
            }
            Ok((store_id.to_owned(), rate.parse()?))
        });
        rates.collect::<Result<_, String>>().map(Self)
    }
}

impl FromStr for MapSets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let List(parts) = text.parse()?;
        let sets = parts.iter().map(|part| part.parse());
        sets.collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // An empty text stands for the default, so that no network at all needs a word.
        if text.trim() == "none" {
            return Ok(Self(Vec::new()));
        }
        let List(parts) = text.parse()?;
        let network = |part: String| {
            let network = part.parse::<IpNet>();
            let network = network.or_else(|_none| part.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_none| {
                format!("{part:?} is not a network; write 10.0.0.0/8, 2001:db8::/32 or none")
            })
        };
        parts
            .into_iter()
            .map(network)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl FromStr for Jwks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.contains("://") {
            return Ok(Self(JwksSource::Url(text.to_owned())));
        }
        Ok(Self(JwksSource::File(text.into())))
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
    Rate as "RATE": self => self.to_string();
    StoreRates as "STORE=RATE,…": self => {
        let rates = self.0.iter().map(|(store_id, rate)| format!("{store_id}={rate}"));
        rates.collect::<Vec<_>>().join(",")
    };
    MapSets as "SETS": self => {
        self.0.iter().map(|set| set.name()).collect::<Vec<_>>().join(",")
    };
    Networks as "NETWORKS": self => {
        match self.0.as_slice() {
            [] => "none".to_owned(),
            networks => networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        }
    };
    Jwks as "FILE|URL": self => self.0.to_string();
    Mode as "off|required": self => format!("{self:?}").to_lowercase();
    Consent as "required|assumed": self => format!("{self:?}").to_lowercase();
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
    fn a_rate_reads_as_it_is_written() {
        let read = |text: &str| text.parse::<Rate>().map(|rate| rate.to_string());
        for (text, written) in [
            ("20/min", "20/min"),
            (" 0.5/s ", "30/min"),
            ("100/h", "1.667/min"),
            ("16000/s", "960000/min"),
            ("off", "off"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(written));
        }
        for bad in [
            "", "20", "20/day", "-1/s", "0/s", "nan/s", "inf/s", "1/h", "1e9/s", "/s",
        ] {
            assert!(
                read(bad).is_err_and(|error| error.contains("20/min")),
                "{bad}"
            );
        }
    }

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
