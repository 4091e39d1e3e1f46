//! Describes every `/api/v1` route of the admin listener in OpenAPI 3.1, for programs.
//!
//! **Promises**
//! 1. Each route is described with its parameters, its answer and its refusals; tests compare the description with the
//!    router, with the parameters that questions take, and with every answer that a test gets.
//! 2. Schemas come from the types that are serialized. An object has no field that is not described, and each field says
//!    what it means.
//!
//! | file | what |
//! |---|---|
//! | `routes.rs` | the routes, by what they are about |
//! | `percentiles.rs`, `stores.rs`, `live.rs`, `troubles.rs`, `rollouts.rs`, `batches.rs`, `acts.rs`, `session.rs` | these routes |
//! | `operation.rs` | what is said of one route, and how the document says it |
//! | `parameter.rs` | what is said of one parameter |
//! | `refusal.rs` | why a request can be refused |
//! | `closing.rs` | makes schemas refuse what they do not describe |
//!
//! **To add a route**, add a function to one of the files of routes and its name to `routes.rs`, derive `JsonSchema` for
//! its answer, and run `UPDATE_DOCS=1 cargo test --test documentation`.

mod acts;
mod batches;
mod closing;
mod live;
mod operation;
mod parameter;
mod percentiles;
mod refusal;
mod rollouts;
mod routes;
mod session;
mod stores;
mod troubles;

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use refusal::{Error, Responses};

/// What comes before everything else in the document.
const ABOUT: &str = "The admin listener of a tillwatch collector answers questions with JSON, and takes acts of an operator. \
    Times are in Unix milliseconds. A parameter that is unknown, empty or given twice is refused.";

static DOCUMENT: LazyLock<Value> = LazyLock::new(made);
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| DOCUMENT.to_string().into_bytes());

/// The document.
#[must_use]
pub fn document() -> &'static Value {
    &DOCUMENT
}

/// Serves the document.
pub(super) async fn serve() -> Response {
    ([(CONTENT_TYPE, "application/json")], BYTES.as_slice()).into_response()
}

fn made() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.with_transform(closing::close).into_generator();
    let error = generator.subschema_for::<Error>();
    let mut shared = Responses::new(error.to_value());
    let mut paths: Map<String, Value> = Map::new();
    for operation in routes::all() {
        let described = operation.described(&mut generator, &mut shared);
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(operation.method.to_owned(), described);
        }
    }
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "tillwatch",
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "responses": shared.all,
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key that `tillwatch key new` has made; needed if `admin_auth` is `required`.",
                },
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The id of a key as user, and its secret as password.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "tillwatch_session",
                    "description": "The session of a person who has shown a key.",
                },
            },
        },
    })
}
