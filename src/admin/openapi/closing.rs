//! Makes schemas refuse what they do not describe: a field that nobody has described must be noticed.

use schemars::Schema;
use schemars::transform::transform_subschemas;
use serde_json::{Value, json};

/// Closes a schema and all those in it.
pub(super) fn close(schema: &mut Schema) {
    transform_subschemas(&mut close, schema);
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::String(text)) = fields.get_mut("description") {
        // A comment has lines; a description is shown in lines of another length.
        *text = text.replace('\n', " ");
    }
    let required = fields.get("required").cloned();
    let is_required = |name: &str| {
        let names = required.as_ref().and_then(Value::as_array);
        names.is_some_and(|names| names.iter().any(|one| one == name))
    };
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        for (name, property) in properties.iter_mut() {
            if !is_required(name) {
                without_null(property);
            }
        }
        fields
            .entry("additionalProperties")
            .or_insert(Value::Bool(false));
    }
}

/// A field that is left out when there is no value is never `null`.
fn without_null(property: &mut Value) {
    let Some(fields) = property.as_object_mut() else {
        return;
    };
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = fields.get_mut("anyOf") {
        choices.retain(|one| *one != json!({"type": "null"}));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            fields.remove("anyOf");
            fields.extend(only);
        }
    }
}
