//! The settings as they are in force.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::config::{Config, Flags, SETTINGS};

/// The settings as they are in force; a reload may replace them.
pub type InForce = Arc<ArcSwap<Config>>;

/// The answer to `GET /api/v1/settings`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SettingsAnswer {
    /// Every setting.
    settings: Vec<SettingNow>,
}

/// One setting.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Setting")]
struct SettingNow {
    /// Its name in the file; its flag has dashes for underscores.
    name: &'static str,
    /// Its environment variable.
    variable: &'static str,
    /// Its value, as it would be written; `null`: none is set. No setting is a secret: those name files of secrets.
    value: Option<String>,
    /// Its value if nobody sets it; `null`: none.
    default: Option<&'static str>,
    /// Whether the value is another than the default.
    is_given: bool,
    /// Whether a new value is taken on SIGHUP.
    is_reloadable: bool,
    /// What it does, and what happens when it is too small or too large.
    help: &'static str,
}

pub(super) async fn settings(State(in_force): State<InForce>) -> Response {
    let config = in_force.load();
    let defaults = Config::load(Flags::default(), None).ok();
    let some = |text: String| (!text.is_empty()).then_some(text);
    let settings = SETTINGS.iter().map(|setting| {
        let value = config.text_of(setting.name);
        let default = defaults.as_ref().map(|config| config.text_of(setting.name));
        SettingNow {
            name: setting.name,
            variable: setting.variable,
            is_given: default.is_some_and(|default| default != value),
            value: some(value),
            default: Some(setting.default).filter(|text| !text.is_empty()),
            is_reloadable: setting.is_reloadable,
            help: setting.help,
        }
    });
    let settings = settings.collect();
    Json(SettingsAnswer { settings }).into_response()
}
