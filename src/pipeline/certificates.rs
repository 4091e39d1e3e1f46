//! Loads the certificates of the listeners, and takes those that are put in their place.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::listener::{CertificateFiles, Tls};
use crate::pipeline::error::ServeError;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The certificates; `None`: the listener speaks plain HTTP.
#[derive(Debug, Clone)]
pub(super) struct Certificates {
    pub(super) public: Option<Arc<Tls>>,
    pub(super) admin: Option<Arc<Tls>>,
}

impl Certificates {
    /// Reads the certificates that the settings name.
    ///
    /// # Errors
    /// When one cannot be used.
    pub(super) fn load(config: &Config) -> Result<Self, ServeError> {
        let tls = &config.tls;
        Ok(Self {
            public: load(tls.certificate.clone().zip(tls.key.clone()))?,
            admin: load(tls.admin_certificate.clone().zip(tls.admin_key.clone()))?,
        })
    }

    /// Looks at the files again and again.
    pub(super) async fn watch(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            for tls in [&self.public, &self.admin].into_iter().flatten() {
                let looking = Arc::clone(tls);
                match tokio::task::spawn_blocking(move || looking.look()).await {
                    Ok(Ok(true)) => tracing::info!("took another certificate"),
                    Ok(Ok(false)) => {}
                    Ok(Err(error)) => tracing::error!(
                        error = crate::logging::chain(&error),
                        "another certificate cannot be used; the one from before still counts"
                    ),
                    // Only a runtime that ends gives up the look.
                    Err(_ended) => return,
                }
            }
        }
    }
}

fn load(files: Option<(PathBuf, PathBuf)>) -> Result<Option<Arc<Tls>>, ServeError> {
    let Some((certificate, key)) = files else {
        return Ok(None);
    };
    let tls = Tls::load(CertificateFiles { certificate, key })?;
    if let Some(doubt) = tls.doubt() {
        tracing::warn!("{doubt}");
    }
    Ok(Some(Arc::new(tls)))
}
