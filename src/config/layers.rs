//! Finds the value of one setting: a flag or a variable wins over the file, and the file over the default.

use std::fmt::Display;
use std::str::FromStr;

/// A setting that cannot be right.
#[derive(Debug)]
pub(super) struct Fault {
    /// The setting's name.
    pub(super) name: &'static str,
    /// What is wrong, and what would be right.
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(name: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { name, message }
    }
}

/// What was given for one setting.
pub(super) struct Given<'a, T> {
    pub(super) name: &'static str,
    /// The value of the setting's flag or variable.
    pub(super) flag: Option<T>,
    /// All of the file.
    pub(super) file: &'a toml::Table,
}

impl<T: FromStr<Err: Display>> Given<'_, T> {
    /// The value, if one was given. An empty text in the file is as if its line were not there.
    pub(super) fn value(self) -> Result<Option<T>, Fault> {
        if self.flag.is_some() {
            return Ok(self.flag);
        }
        let text = match self.file.get(self.name) {
            None => return Ok(None),
            Some(toml::Value::String(text)) => text.clone(),
            Some(toml::Value::Array(parts)) => {
                let texts = parts.iter().filter_map(toml::Value::as_str);
                texts.collect::<Vec<_>>().join(",")
            }
            Some(toml::Value::Integer(number)) => number.to_string(),
            Some(toml::Value::Boolean(flag)) => flag.to_string(),
            Some(other) => {
                let kind = other.type_str();
                let message = format!("a {kind} cannot stand here; write a string");
                return Err(Fault::new(self.name, message));
            }
        };
        if text.is_empty() {
            return Ok(None);
        }
        parse(self.name, &text).map(Some)
    }

    /// The value, or its default if none was given.
    pub(super) fn value_or(self, default: &str) -> Result<T, Fault> {
        let name = self.name;
        match self.value()? {
            Some(value) => Ok(value),
            None => parse(name, default),
        }
    }
}

fn parse<T: FromStr<Err: Display>>(name: &'static str, text: &str) -> Result<T, Fault> {
    let parsed = text.parse::<T>();
    parsed.map_err(|error| Fault::new(name, error.to_string()))
}
