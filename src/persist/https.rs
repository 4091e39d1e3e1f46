//! The connections to a ClickHouse server that speaks HTTPS.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clickhouse::Client;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// A connection that is idle for so long is asked whether it still stands.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// A connection that has been idle for so long is not used again: a server closes it after three seconds.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// Connections by HTTPS alone, to servers whose certificate leads to one of these roots (PEM), or to one of the
/// system's.
///
/// # Errors
/// When the roots cannot be read.
pub(super) fn connections(roots: Option<&Path>) -> io::Result<Client> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let config = match roots {
        None => config.with_native_roots()?,
        Some(path) => config.with_root_certificates(read(path)?),
    };
    let mut connector = HttpConnector::new();
    connector.set_keepalive(Some(KEEPALIVE));
    connector.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config.with_no_client_auth())
        .https_only()
        .enable_http1()
        .wrap_connector(connector);
    let client = legacy::Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE_MAX)
        .build(connector);
    Ok(Client::with_http_client(client))
}

fn read(path: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(io::Error::other)? {
        let certificate = certificate.map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
    }
    if roots.is_empty() {
        return Err(io::Error::other("it holds no certificate (PEM)"));
    }
    Ok(roots)
}
