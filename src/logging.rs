//! Sets up tracing: text or JSON on standard error, in UTC.
//!
//! Names that come from terminals are checked where a line is written. Beneath that, every control
//! character in a line is escaped.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error;
use std::io;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
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

/// Writes log lines of `level` and above (`info`, or as `RUST_LOG` has it: `tillwatch=debug`). Panics
/// become lines, too.
pub fn init(format: Format, level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A line that cannot be written, on a full disk, would be complained of by a macro that panics
        // when it cannot be written either: and with it the task that logged.
        .log_internal_errors(false)
        .with_writer(OneLine(io::stderr));
    std::panic::set_hook(Box::new(note_panic));
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

/// A panic as one event.
fn note_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let location = panic.location();
    // Only with RUST_BACKTRACE.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    let payload = panic.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let message = text
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(
        thread = std::thread::current().name(),
        file = location.map(std::panic::Location::file),
        line = location.map(std::panic::Location::line),
        backtrace = backtrace.as_ref().map(tracing::field::display),
        "panicked: {}",
        message
    );
}

/// Writes each event as one line without control characters.
#[derive(Debug, Clone, Copy)]
struct OneLine<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for OneLine<M> {
    type Writer = OneLine<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }
}

impl<W: io::Write> io::Write for OneLine<W> {
    /// Is given whole events.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = event.strip_suffix(b"\n").unwrap_or(event);
        if line.iter().any(|byte| may_be_control(*byte)) {
            self.0.write_all(escaped(line).as_bytes())?;
            self.0.write_all(b"\n")?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whether a control character, or a separator of lines, may begin with this byte: the second row of
/// controls begins with `c2`, U+2028 and U+2029 with `e2`.
fn may_be_control(byte: u8) -> bool {
    byte.is_ascii_control() || byte == 0xc2 || byte == 0xe2
}

fn escaped(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len() + 16);
    for character in String::from_utf8_lossy(line).chars() {
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged meanwhile, as text.
    fn logged(work: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(OneLine(move || writer.clone()))
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_holds_no_control_characters_and_is_one_line() {
        let evil = "a\nINFO forged\r\u{1b}[2Jb\u{7f}\u{85}c\u{2028}d\u{0}é°";
        let text = logged(|| tracing::info!(store_id = %evil, "said {evil}"));
        assert_eq!(text.lines().count(), 1, "{text}");
        let line = text.trim_end();
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(!line.contains('\u{2028}') && line.contains("é°"), "{line}");
        assert!(line.contains("a\\nINFO forged\\r"), "{line}");
    }

    #[test]
    fn a_panic_is_one_event_with_its_place() {
        let text = logged(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(note_panic));
            let ended = std::panic::catch_unwind(|| panic!("on\ntwo lines"));
            std::panic::set_hook(before);
            assert!(ended.is_err());
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in ["ERROR", "panicked: on\\ntwo lines", "logging.rs", "line="] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
