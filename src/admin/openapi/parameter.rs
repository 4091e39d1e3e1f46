//! What is said of one parameter.

use serde_json::{Value, json};

use crate::query::words;

/// A parameter of a route.
#[derive(Debug)]
pub(super) struct Parameter {
    name: &'static str,
    place: &'static str,
    description: String,
    is_required: bool,
    schema: Value,
    example: Option<&'static str>,
}

impl Parameter {
    /// A part of the path. The example is one that can be right.
    pub(super) fn path(
        name: &'static str,
        schema: Value,
        example: &'static str,
        description: &str,
    ) -> Self {
        Self {
            name,
            place: "path",
            description: description.to_owned(),
            is_required: true,
            schema,
            example: Some(example),
        }
    }

    /// A parameter that may be given.
    pub(super) fn query(name: &'static str, schema: Value, description: &str) -> Self {
        Self {
            name,
            place: "query",
            description: description.to_owned(),
            is_required: false,
            schema,
            example: None,
        }
    }

    /// It must be given. The example is one that can be right.
    pub(super) fn required(self, example: &'static str) -> Self {
        Self {
            is_required: true,
            example: Some(example),
            ..self
        }
    }

    pub(super) fn described(&self) -> Value {
        let mut described = json!({
            "name": self.name,
            "in": self.place,
            "required": self.is_required,
            "description": self.description,
            "schema": self.schema,
        });
        if let (Some(example), Some(fields)) = (self.example, described.as_object_mut()) {
            fields.insert("example".to_owned(), json!(example));
        }
        described
    }
}

/// The name of a store or a terminal.
pub(super) fn identifier() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,64}$"})
}

/// The name of a release.
pub(super) fn release() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9_.:+@-]{1,64}$"})
}

/// Any text that is not empty.
pub(super) fn text() -> Value {
    json!({"type": "string", "minLength": 1})
}

/// One of these words.
pub(super) fn one_of<T: serde::Serialize>(words: T) -> Value {
    json!({"type": "string", "enum": words})
}

/// A whole number between the least and the most.
pub(super) fn number(least: usize, most: usize, default: Option<usize>) -> Value {
    let mut schema = json!({"type": "integer", "minimum": least, "maximum": most});
    if let (Some(default), Some(fields)) = (default, schema.as_object_mut()) {
        fields.insert("default".to_owned(), json!(default));
    }
    schema
}

/// A time, Unix ms.
pub(super) fn time() -> Value {
    json!({"type": "integer", "format": "int64", "minimum": 0})
}

/// Only what is of one store.
pub(super) fn store_id() -> Parameter {
    let description = "Only what is of this store. Default: all stores.";
    Parameter::query("store_id", identifier(), description)
}

/// How much one answer holds at most.
pub(super) fn limit(most: usize, default: usize, what: &str) -> Parameter {
    let description = format!("How many {what} at most.");
    Parameter::query("limit", number(1, most, Some(default)), &description)
}

/// The connections, as they can be asked for.
pub(super) fn connections() -> Value {
    one_of(words::connections())
}
