//! `sdk`: the terminal's library, and the lines with which a page loads it.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::cli::{Outcome, say};
use crate::sdk;

/// Print the lines with which a page loads the terminal's library from a collector and begins to measure.
///
/// A till that must start without a network bundles the library instead: --script prints it.
#[derive(Debug, Args)]
pub(super) struct Sdk {
    /// The collector's address as browsers see it.
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    url: String,
    /// The store (shop) of the page.
    #[arg(long, default_value = "store-001")]
    store: String,
    /// The terminal.
    #[arg(long, default_value = "till-1")]
    terminal: String,
    /// The version of the page.
    #[arg(long, default_value = "1.0.0")]
    release: String,
    /// Print the library itself, to be kept with the page's own files.
    #[arg(long)]
    script: bool,
}

impl Sdk {
    pub(super) fn run(&self) -> Outcome {
        if self.script {
            say(sdk::SCRIPT.trim_end());
        } else {
            say(&self.snippet());
        }
        Ok(ExitCode::SUCCESS)
    }

    fn snippet(&self) -> String {
        let url = self.url.trim_end_matches('/');
        let source = url.replace('&', "&amp;").replace('"', "&quot;");
        // As JSON, and without a sign that could end the script.
        let text = |text: &str| Value::from(text).to_string().replace('<', "\\u003c");
        format!(
            "<script src=\"{source}/sdk/{version}/tillwatch.js\"\n        integrity=\"{integrity}\"\n        \
             crossorigin=\"anonymous\"></script>\n<script>\n  tillwatch.init({{\n    url: {url},\n    store: {store},\n    \
             terminal: {terminal},\n    release: {release},\n    consent: true,\n  }});\n</script>",
            version = *sdk::VERSION,
            integrity = *sdk::INTEGRITY,
            url = text(url),
            store = text(&self.store),
            terminal = text(&self.terminal),
            release = text(&self.release),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_the_script() {
        let sdk = Sdk {
            url: "https://rum.example.com/\"&".to_owned(),
            store: "</script><b>".to_owned(),
            terminal: "till\"1".to_owned(),
            release: String::new(),
            script: false,
        };
        let snippet = sdk.snippet();
        assert!(!snippet.contains("</script><b>"));
        assert!(snippet.contains(r#"terminal: "till\"1""#));
        assert!(snippet.contains("src=\"https://rum.example.com/&quot;&amp;/sdk/"));
    }
}
