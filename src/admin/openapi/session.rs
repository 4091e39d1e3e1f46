//! Describes what the console asks before anything else, and the settings.

use crate::admin::openapi::operation::Operation;
use crate::admin::openapi::refusal::{KEY_REFUSED, NO_SESSIONS};
use crate::admin::session::{AboutAnswer, Shown};
use crate::admin::settings::SettingsAnswer;

/// `GET /api/v1/about`.
pub(super) fn about() -> Operation {
    let summary = "What a page needs to know before it asks for anything.";
    Operation::new(("get", "/api/v1/about"), "about", None, summary)
        .answers::<AboutAnswer<'_>>("Whether a key must be shown, and who is signed in.")
}

/// `POST /api/v1/session`.
pub(super) fn sign_in() -> Operation {
    let summary =
        "Takes a key with the scope read, and gives a cookie that stands for it for a week.";
    Operation::new(("post", "/api/v1/session"), "signIn", None, summary)
        .takes::<Shown>()
        .refuses(&KEY_REFUSED)
        .refuses(&[NO_SESSIONS])
}

/// `DELETE /api/v1/session`.
pub(super) fn sign_out() -> Operation {
    let summary = "Takes the cookie back.";
    Operation::new(("delete", "/api/v1/session"), "signOut", None, summary)
}

/// `GET /api/v1/settings`.
pub(super) fn settings() -> Operation {
    Operation::get(
        "/api/v1/settings",
        "settings",
        "The settings as they are in force.",
    )
    .answers::<SettingsAnswer>("Every setting.")
}
