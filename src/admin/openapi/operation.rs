//! What is said of one route, and how the document says it.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::admin::openapi::parameter::Parameter;
use crate::admin::openapi::refusal::{ANYWHERE, Refusal, Responses, WITH_KEY};
use crate::auth::Scope;

/// A route with one method.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) path: &'static str,
    pub(super) method: &'static str,
    /// The name that programs have for it.
    id: &'static str,
    /// What a key needs; `None`: no key is asked for.
    scope: Option<Scope>,
    summary: &'static str,
    parameters: Vec<Parameter>,
    /// What has to be sent with it.
    body: Option<Content>,
    answer: Answer,
    refusals: Vec<Refusal>,
}

/// What a request or an answer holds.
#[derive(Debug)]
struct Content {
    content_type: &'static str,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

/// The answer to a request that is not refused.
#[derive(Debug)]
struct Answer {
    status: u16,
    description: &'static str,
    content: Option<Content>,
}

impl Operation {
    /// A question, which asks for the scope `read`.
    pub(super) fn get(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(("get", path), id, Some(Scope::Read), summary)
    }

    /// An act, which asks for the scope `operate` and for JSON.
    pub(super) fn post(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(("post", path), id, Some(Scope::Operate), summary)
            .takes::<BTreeMap<String, Value>>()
            .refuses(&[super::refusal::ACT])
    }

    /// Any method, for whoever has this scope; `None`: for anybody.
    pub(super) fn new(
        (method, path): (&'static str, &'static str),
        id: &'static str,
        scope: Option<Scope>,
        summary: &'static str,
    ) -> Self {
        let mut refusals = ANYWHERE.to_vec();
        if scope.is_some() {
            refusals.extend(WITH_KEY);
        }
        Self {
            path,
            method,
            id,
            scope,
            summary,
            parameters: Vec::new(),
            body: None,
            answer: Answer {
                status: 204,
                description: "It is done.",
                content: None,
            },
            refusals,
        }
    }

    /// It has these parameters, those of the path among them.
    pub(super) fn with(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    /// It takes a body of JSON.
    pub(super) fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(Content {
            content_type: "application/json",
            schema: SchemaGenerator::subschema_for::<T>,
        });
        self
    }

    /// It answers 200 with JSON. Without this it answers 204.
    pub(super) fn answers<T: JsonSchema>(self, description: &'static str) -> Self {
        self.answers_as::<T>("application/json", description)
    }

    /// It answers 200 with this content type; of what goes on for long, the schema is that of one line or event.
    pub(super) fn answers_as<T: JsonSchema>(
        mut self,
        content_type: &'static str,
        description: &'static str,
    ) -> Self {
        self.answer = Answer {
            status: 200,
            description,
            content: Some(Content {
                content_type,
                schema: SchemaGenerator::subschema_for::<T>,
            }),
        };
        self
    }

    /// It can be refused for these reasons, too.
    pub(super) fn refuses(mut self, refusals: &[Refusal]) -> Self {
        self.refusals.extend(refusals);
        self
    }

    /// The route as the document has it.
    pub(super) fn described(
        &self,
        generator: &mut SchemaGenerator,
        shared: &mut Responses,
    ) -> Value {
        let mut responses = self.refused(shared);
        let mut answer = json!({"description": self.answer.description});
        if let (Some(content), Some(fields)) = (&self.answer.content, answer.as_object_mut()) {
            fields.insert("content".to_owned(), content.described(generator));
        }
        responses.insert(self.answer.status.to_string(), answer);
        let parameters: Vec<Value> = self.parameters.iter().map(Parameter::described).collect();
        let mut described = json!({
            "operationId": self.id,
            "summary": self.summary,
            "security": self.security(),
            "parameters": parameters,
            "responses": responses,
        });
        if let (Some(body), Some(fields)) = (&self.body, described.as_object_mut()) {
            let body = json!({"required": true, "content": body.described(generator)});
            fields.insert("requestBody".to_owned(), body);
        }
        described
    }

    /// A key in any of three ways, or none if the settings ask for none.
    fn security(&self) -> Value {
        self.scope.map_or_else(
            || json!([]),
            |scope| {
                let scopes = [scope.name()];
                json!([{"bearer": scopes}, {"basic": scopes}, {"session": scopes}, {}])
            },
        )
    }

    /// The refusals, by status.
    fn refused(&self, shared: &mut Responses) -> Map<String, Value> {
        let mut by_status: BTreeMap<u16, Vec<Refusal>> = BTreeMap::new();
        for refusal in &self.refusals {
            by_status.entry(refusal.status).or_default().push(*refusal);
        }
        let by_status = by_status.into_iter();
        by_status
            .map(|(status, refusals)| (status.to_string(), shared.named(status, &refusals)))
            .collect()
    }
}

impl Content {
    fn described(&self, generator: &mut SchemaGenerator) -> Value {
        let schema = (self.schema)(generator);
        json!({self.content_type: {"schema": schema}})
    }
}
