//! Whether what the console links to can be a page.

use super::Config;
use super::layers::Fault;

impl Config {
    pub(super) fn check_links(&self) -> Result<(), Fault> {
        let Some(url) = &self.console.grafana_url else {
            return Ok(());
        };
        check_page(url).map_err(|message| Fault::new("grafana_url", message))
    }
}

/// Checks the address of a page, as a browser reaches it.
fn check_page(text: &str) -> Result<(), String> {
    let url = reqwest::Url::parse(text)
        .map_err(|error| format!("{text:?} is not a URL ({error}); write https://host"))?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if ["http", "https"].contains(&url.scheme()) && url.host_str().is_some() && is_plain {
        return Ok(());
    }
    Err(format!(
        "must begin with https:// or http:// and hold no user, password or query, not {text:?}"
    ))
}
