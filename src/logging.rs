//! Sets up tracing: text or JSON on standard error.

use std::error::Error;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines: one object a line.
    Json,
}

type SetFilter = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

/// What changes the filter of the subscriber that is in place.
static SET_FILTER: OnceLock<SetFilter> = OnceLock::new();

/// Writes log lines of `level` and above (`info`, or as `RUST_LOG` has it: `tillwatch=debug`).
pub fn init(format: Format, level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        Format::Text => {
            let builder = builder.with_ansi(false).with_filter_reloading();
            let handle = builder.reload_handle();
            install(builder.finish(), move |filter| {
                handle.reload(filter).is_ok()
            });
        }
        Format::Json => {
            let builder = builder.json().with_filter_reloading();
            let handle = builder.reload_handle();
            install(builder.finish(), move |filter| {
                handle.reload(filter).is_ok()
            });
        }
    }
}

fn install(
    subscriber: impl SubscriberInitExt,
    set: impl Fn(EnvFilter) -> bool + Send + Sync + 'static,
) {
    // An error means that a subscriber is there already, as in tests.
    if subscriber.try_init().is_ok() {
        let _first = SET_FILTER.set(Box::new(set));
    }
}

/// Takes another level from now on; whether it could. `RUST_LOG` wins over it, as at the start.
pub fn set_level(level: &str) -> bool {
    let Ok(filter) = EnvFilter::try_new(level) else {
        return false;
    };
    let is_overruled =
        std::env::var_os(EnvFilter::DEFAULT_ENV).is_some_and(|text| !text.is_empty());
    !is_overruled && SET_FILTER.get().is_some_and(|set| set(filter))
}

/// An error and its causes in one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
