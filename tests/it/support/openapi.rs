//! Holds every answer of the admin listener against the document that describes it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::Reply;

/// A route with one method, as the document describes it.
struct Route {
    method: String,
    path: String,
    /// By status, and then by content type.
    answers: BTreeMap<String, BTreeMap<String, Validator>>,
}

/// Made once: a schema takes longer to compile than an answer to check.
static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(routes);

/// Fails the test if an answer to a request for `path` is not as the document describes it.
pub fn check(method: &str, path: &str, reply: &Reply) {
    if !path.starts_with("/api/v1") {
        return;
    }
    let answer = (reply.status, reply.header("content-type"));
    let body = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
    let faults = faults(method, path, answer, &body);
    assert!(
        faults.is_empty(),
        "{method} {path} is answered with {}, which is not as the OpenAPI document says:\n{}\n{}",
        reply.status,
        faults.join("\n"),
        reply.text()
    );
}

/// What of an answer is not as the document describes it. Of what goes on for long, `body` is one line or event.
pub fn faults(
    method: &str,
    path: &str,
    (status, content_type): (u16, &str),
    body: &Value,
) -> Vec<String> {
    let path = path.split('?').next().unwrap_or_default();
    let is_json = content_type == "application/json";
    let routes = ROUTES.iter();
    let found = routes.filter(|route| route.method == method && route.is_of(path));
    let Some(route) = found.max_by_key(|route| route.fixed_parts()) else {
        // What is no route is refused without a word.
        let is_refused = status >= 400 && !is_json;
        return if is_refused {
            Vec::new()
        } else {
            vec!["the document has no such route".to_owned()]
        };
    };
    if status >= 400 && !is_json {
        return Vec::new();
    }
    let Some(answer) = route.answers.get(&status.to_string()) else {
        return vec![format!("{} has no answer {status}", route.path)];
    };
    let Some(validator) = answer.get(content_type) else {
        return vec![format!(
            "{} has no answer of the type {content_type:?}",
            route.path
        )];
    };
    let errors = validator.iter_errors(body);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

impl Route {
    fn is_of(&self, path: &str) -> bool {
        let (parts, asked) = (self.path.split('/'), path.split('/'));
        parts.clone().count() == asked.clone().count()
            && parts
                .zip(asked)
                .all(|(part, asked)| is_any(part) || part == asked)
    }

    /// `/terminals/silent` is a route of its own, whatever else stands in that place.
    fn fixed_parts(&self) -> usize {
        self.path.split('/').filter(|part| !is_any(part)).count()
    }
}

fn is_any(part: &str) -> bool {
    part.starts_with('{')
}

fn routes() -> Vec<Route> {
    let document = tillwatch::admin::openapi::document();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap().iter();
            routes.push(Route {
                method: method.clone(),
                path: path.clone(),
                answers: responses
                    .map(|(status, response)| (status.clone(), validators(document, response)))
                    .collect(),
            });
        }
    }
    routes
}

fn validators(document: &Value, response: &Value) -> BTreeMap<String, Validator> {
    let shared = response["$ref"].as_str().and_then(|reference| {
        let pointer = reference.strip_prefix('#')?;
        document.pointer(pointer)
    });
    let contents = shared.unwrap_or(response)["content"].as_object();
    let contents = contents.into_iter().flatten();
    let validator = |(content_type, content): (&String, &Value)| {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "components": document["components"],
            "allOf": [content["schema"]],
        });
        let validator = jsonschema::validator_for(&schema);
        (
            content_type.clone(),
            validator.unwrap_or_else(|error| panic!("{error}")),
        )
    };
    contents.map(validator).collect()
}
