//! The document that describes the query API: what it says is what is served.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Batch, Reply, Server, now_ms, openapi};

fn document() -> &'static Value {
    tillwatch::admin::openapi::document()
}

/// Every route: its path, its method, and what is said of it.
fn operations() -> Vec<(&'static str, &'static str, &'static Value)> {
    let paths = document()["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (&**path, &**method, operation))
        })
        .collect()
}

/// The parameters of a route that are in the query, or in the path.
fn parameters(
    operation: &'static Value,
    place: &'static str,
) -> impl Iterator<Item = &'static Value> {
    let all = operation["parameters"].as_array().unwrap().iter();
    all.filter(move |parameter| parameter["in"] == place)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// A path that can be right.
fn example(path: &str, operation: &'static Value) -> String {
    parameters(operation, "path").fold(path.to_owned(), |path, parameter| {
        let place = format!("{{{}}}", text(&parameter["name"]));
        assert!(path.contains(&place), "{path} has no {place}");
        path.replace(&place, text(&parameter["example"]))
    })
}

/// Calls `look` with each object of a document, and where it is.
fn each<'v>(
    at: &str,
    value: &'v Value,
    look: &mut impl FnMut(&str, &'v serde_json::Map<String, Value>),
) {
    match value {
        Value::Object(fields) => {
            look(at, fields);
            for (key, value) in fields {
                each(&format!("{at}/{key}"), value, look);
            }
        }
        Value::Array(values) => {
            for (place, value) in values.iter().enumerate() {
                each(&format!("{at}/{place}"), value, look);
            }
        }
        _ => {}
    }
}

#[test]
fn it_is_an_openapi_document() {
    let of = |field: &str| text(&document()[field]).to_owned();
    assert!(of("openapi").starts_with("3.1."), "{}", of("openapi"));
    assert!(!text(&document()["info"]["title"]).is_empty());
    assert!(!text(&document()["info"]["version"]).is_empty());
    let mut faults = Vec::new();
    let mut references = 0;
    each("", document(), &mut |at, fields| {
        if let Some(reference) = fields.get("$ref") {
            references += 1;
            let pointer = text(reference).strip_prefix('#').unwrap_or_default();
            if document().pointer(pointer).is_none() {
                faults.push(format!("{at}: {reference} leads nowhere"));
            }
        }
    });
    assert!(references > 20, "{references}");
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations() {
        if !ids.insert(text(&operation["operationId"])) {
            faults.push(format!("{method} {path}: its id is taken"));
        }
        let responses = operation["responses"].as_object().unwrap();
        let is_answered = responses.keys().any(|status| status.starts_with('2'));
        if !path.starts_with('/') || !is_answered {
            faults.push(format!(
                "{method} {path}: describes no answer that is none of its refusals"
            ));
        }
        let in_path: BTreeSet<&str> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        let named: BTreeSet<&str> = parameters(operation, "path")
            .map(|parameter| text(&parameter["name"]))
            .collect();
        if in_path != named {
            faults.push(format!(
                "{method} {path}: has {in_path:?}, describes {named:?}"
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_schema_is_closed_and_each_field_says_what_it_means() {
    let mut faults = openapi::not_compiled();
    for (name, schema) in document()["components"]["schemas"].as_object().unwrap() {
        // A second type of the same name is given a number.
        if name.ends_with(|last: char| last.is_ascii_digit()) {
            faults.push(format!("{name} has the name of another type"));
        }
        each(name, schema, &mut |at, fields| {
            let Some(properties) = fields.get("properties") else {
                return;
            };
            if fields.get("additionalProperties") != Some(&Value::Bool(false)) {
                faults.push(format!("{at} may have other fields"));
            }
            for (field, property) in properties.as_object().unwrap() {
                // The tag that tells variants apart is described by them.
                if property.get("description").is_none() && property.get("const").is_none() {
                    faults.push(format!("{at}/{field} does not say what it means"));
                }
            }
        });
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The paths of the routers in the source.
fn routes_in_the_source() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // The files of the console have names that are not known here, and none is below /api.
        if path.is_dir() || path.ends_with("console.rs") {
            continue;
        }
        let code = std::fs::read_to_string(&path).unwrap();
        for route in code.split(".route(").skip(1) {
            let literal = route.trim_start().strip_prefix('"');
            let literal = literal.unwrap_or_else(|| panic!("{path:?}: a route is no literal"));
            let route = literal.split('"').next().unwrap();
            if route.starts_with("/api/v1") {
                found.insert(route.to_owned());
            }
        }
    }
    found
}

#[tokio::test]
async fn it_has_each_route_with_each_method_and_each_parameter() {
    let server = Server::start().await;
    let served = server.get("/api/v1/openapi.json", &[]).await;
    assert_eq!(served.header("content-type"), "application/json");
    assert_eq!(served.json(), *document());

    let described: BTreeSet<String> = operations()
        .iter()
        .map(|(path, ..)| (*path).to_owned())
        .collect();
    assert_eq!(described, routes_in_the_source());

    let mut methods: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, method, operation) in operations() {
        let of_path = methods.entry(example(path, operation)).or_default();
        of_path.insert(method.to_ascii_uppercase());
    }
    for (path, described) in methods {
        let url = format!("{}{path}", server.admin_url());
        let request = reqwest::Client::new().request(reqwest::Method::PATCH, url);
        let reply = Reply::of(request.send().await.unwrap()).await;
        assert_eq!(reply.status, 405, "{path}: {}", reply.text());
        let allowed = reply.header("allow").split(',').map(str::to_owned);
        let allowed = allowed.filter(|method| method != "HEAD");
        assert_eq!(allowed.collect::<BTreeSet<_>>(), described, "{path}");
    }
    for (path, method, operation) in operations() {
        parameters_are_those_of_the_code(&server, path, method, operation).await;
    }
    server.stop().await;
}

/// Asks with parameters that cannot be right: the refusals name those that can.
async fn parameters_are_those_of_the_code(
    server: &Server,
    path: &str,
    method: &str,
    operation: &'static Value,
) {
    let ask = async |given: &[(&str, String)]| {
        let url = format!("{}{}", server.admin_url(), example(path, operation));
        let verb = method.to_ascii_uppercase().parse().unwrap();
        let request = reqwest::Client::new().request(verb, url).query(given);
        let request = request.header("content-type", "application/json");
        let reply = Reply::of(request.body("{}").send().await.unwrap()).await;
        openapi::check(method, path, &reply);
        assert_eq!(reply.code(), "bad_parameter", "{path} with {given:?}");
        text(&reply.json()["error"]["message"]).to_owned()
    };
    let described: BTreeSet<&str> = parameters(operation, "query")
        .map(|parameter| text(&parameter["name"]))
        .collect();
    let message = ask(&[("no_such", "1".to_owned())]).await;
    let (_, listed) = message
        .split_once("known are ")
        .or_else(|| message.split_once("expected one of "))
        .unwrap_or(("", ""));
    let listed = listed.split(", ").filter(|name| !name.is_empty());
    let listed: BTreeSet<&str> = listed.map(|name| name.trim_matches('`')).collect();
    assert_eq!(described, listed, "{path}: {message}");

    let required: Vec<(&str, String)> = parameters(operation, "query")
        .filter(|parameter| parameter["required"] == true)
        .map(|parameter| {
            (
                text(&parameter["name"]),
                text(&parameter["example"]).to_owned(),
            )
        })
        .collect();
    for (name, _) in &required {
        let others = required.iter().filter(|(other, _)| other != name);
        let message = ask(&others.cloned().collect::<Vec<_>>()).await;
        assert!(message.contains(name), "{path}: {message}");
    }
    for parameter in parameters(operation, "query") {
        let (name, schema) = (text(&parameter["name"]), &parameter["schema"]);
        let with = |value: String| {
            let others = required.iter().filter(|(other, _)| *other != name);
            let mut given: Vec<(&str, String)> = others.cloned().collect();
            given.push((name, value));
            given
        };
        if let (Some(least), Some(most)) = (schema["minimum"].as_u64(), schema["maximum"].as_u64())
        {
            let message = ask(&with((most + 1).to_string())).await;
            let bounds = format!("from {least} to {most}");
            assert!(message.contains(&bounds), "{path}: {message}");
        }
        for word in schema["enum"].as_array().into_iter().flatten() {
            let message = ask(&with("no-such-word".to_owned())).await;
            assert!(
                message.contains(text(word)),
                "{path}: {message} has no {word}"
            );
        }
    }
}

#[tokio::test]
async fn acts_are_answered_as_it_says() {
    let server = Server::start().await;
    let batch = Batch::new("store-1").value("lcp_ms", now_ms(), 1.0);
    server.taken(&batch.0).await;
    server.wait_applied().await;
    let terminal_id = text(&batch.0["terminal_id"]);
    let post = async |path: &str, content_type: &str| {
        let url = format!("{}{path}", server.admin_url());
        let request = reqwest::Client::new().post(url).body("{}");
        let request = request.header("content-type", content_type);
        let reply = Reply::of(request.send().await.unwrap()).await;
        openapi::check("post", path, &reply);
        reply.status
    };
    let json = "application/json";
    let terminal = format!("/api/v1/stores/store-1/terminals/{terminal_id}/retire");
    for (path, content_type, status) in [
        ("/api/v1/seal", json, 200),
        ("/api/v1/seal", "text/plain", 415),
        ("/api/v1/clock/accept", json, 200),
        (&*terminal, json, 200),
        (&*terminal, json, 404),
        ("/api/v1/stores/store-1/retire", json, 200),
        ("/api/v1/stores/store-2/retire", json, 404),
    ] {
        assert_eq!(post(path, content_type).await, status, "{path}");
    }
    server.stop().await;
}

#[test]
fn what_it_does_not_say_is_noticed() {
    let json = "application/json";
    let store =
        json!({"store_id": "a", "last_report_ms": 1, "terminals": 1, "terminals_reporting": 1});
    let good = json!({"stores": [store], "total": 1, "next": null});
    let of = |status: u16, body: &Value| {
        openapi::faults("get", "/api/v1/stores?limit=1", (status, json), body)
    };
    assert_eq!(of(200, &good), Vec::<String>::new());
    let broken = |change: fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        of(200, &body)
    };
    let changes: [(&str, fn(&mut Value)); 6] = [
        ("a field too many", |body| {
            body["stores"][0]["more"] = json!(1)
        }),
        ("one at the top", |body| body["more"] = json!(1)),
        ("a wrong type", |body| {
            body["stores"][0]["terminals"] = json!("1")
        }),
        ("less than nothing", |body| body["total"] = json!(-1)),
        ("a null", |body| body["stores"][0]["store_id"] = Value::Null),
        ("a field is missing", |body| {
            body["stores"][0]
                .as_object_mut()
                .unwrap()
                .remove("terminals");
        }),
    ];
    for (what, change) in changes {
        assert!(!broken(change).is_empty(), "{what}");
    }
    let refused = |code: &str| json!({"error": {"code": code, "message": "why"}});
    assert!(of(503, &refused("too_many_queries")).is_empty());
    for (status, body) in [
        (503, refused("too_many_stores")),
        (400, json!({"error": "why"})),
        (418, refused("bad_parameter")),
    ] {
        assert!(!of(status, &body).is_empty(), "{status} {body}");
    }
    let elsewhere =
        |path: &str, content_type: &str| openapi::faults("get", path, (200, content_type), &good);
    assert!(!elsewhere("/api/v1/no_such", json).is_empty());
    assert!(!elsewhere("/api/v1/terminals/silent", json).is_empty());
    assert!(!elsewhere("/api/v1/stores", "text/plain").is_empty());
}
