//! Holds every answer of the admin listener against the document that describes it.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use boon::{Compiler, Draft, SchemaIndex, Schemas, ValidationError};
use serde_json::{Value, json};

use super::Reply;

/// A route with one method, as the document describes it.
struct Route {
    method: String,
    path: String,
    /// By status, and then by content type.
    answers: BTreeMap<String, BTreeMap<String, SchemaIndex>>,
}

/// Made once: a schema takes longer to compile than an answer to check.
static ROUTES: LazyLock<(Vec<Route>, Schemas)> = LazyLock::new(routes);

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
    let (routes, schemas) = &*ROUTES;
    let found = routes
        .iter()
        .filter(|route| route.method == method && route.is_of(path));
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
    let Some(schema) = answer.get(content_type) else {
        return vec![format!(
            "{} has no answer of the type {content_type:?}",
            route.path
        )];
    };
    let mut faults = Vec::new();
    if let Err(error) = schemas.validate(body, *schema) {
        leaves(&error, &mut faults);
    }
    faults
}

/// What is wrong at the bottom of it.
fn leaves(error: &ValidationError<'_, '_>, faults: &mut Vec<String>) {
    if error.causes.is_empty() {
        faults.push(format!("{}: {}", error.instance_location, error.kind));
    }
    error.causes.iter().for_each(|cause| leaves(cause, faults));
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

fn routes() -> (Vec<Route>, Schemas) {
    let document = tillwatch::admin::openapi::document();
    let mut routes = Vec::new();
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V2020_12);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let mut answers = BTreeMap::new();
            for (status, response) in operation["responses"].as_object().unwrap() {
                let shared = response["$ref"].as_str().and_then(|reference| {
                    let pointer = reference.strip_prefix('#')?;
                    document.pointer(pointer)
                });
                let contents = shared.unwrap_or(response)["content"].as_object();
                let mut types = BTreeMap::new();
                for (content_type, content) in contents.into_iter().flatten() {
                    let name = format!("http://schema.test/{}", schemas_made());
                    let index = compile(&mut compiler, &mut schemas, &name, &content["schema"]);
                    types.insert(content_type.clone(), index);
                }
                answers.insert(status.clone(), types);
            }
            routes.push(Route {
                method: method.clone(),
                path: path.clone(),
                answers,
            });
        }
    }
    (routes, schemas)
}

/// A number for each schema.
fn schemas_made() -> usize {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    MADE.fetch_add(1, Ordering::Relaxed)
}

/// Compiles a schema of the document; one that is none fails the test.
fn compile(
    compiler: &mut Compiler,
    schemas: &mut Schemas,
    name: &str,
    schema: &Value,
) -> SchemaIndex {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": tillwatch::admin::openapi::document()["components"],
        "allOf": [schema],
    });
    compiler.add_resource(name, schema).unwrap();
    let compiled = compiler.compile(name, schemas);
    compiled.unwrap_or_else(|error| panic!("{error}"))
}

/// Whether every schema of the document can be compiled; the names of those that cannot.
pub fn not_compiled() -> Vec<String> {
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V2020_12);
    let document = tillwatch::admin::openapi::document();
    let names = document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys();
    let is_none = |name: &&String| {
        let mut schemas = Schemas::new();
        let schema = json!({
            "components": document["components"],
            "$ref": format!("#/components/schemas/{name}"),
        });
        let at = format!("http://schema.test/named/{name}");
        compiler.add_resource(&at, schema).unwrap();
        compiler.compile(&at, &mut schemas).is_err()
    };
    names.filter(is_none).cloned().collect()
}
