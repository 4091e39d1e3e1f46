//! The certificate that a listener shows, and its key: two files, which may be replaced while it runs.
//!
//! Files are replaced one after the other, and a copy is there in parts before it is whole. So a pair is taken
//! only when it can be read and the key fits the certificate; until then the listener shows the one before.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What a file may be long: a chain of certificates has a few KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where a certificate and its key lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and those between it and the root, in PEM, its own first.
    pub certificate: PathBuf,
    /// The private key in PEM (PKCS#8, PKCS#1 or SEC1), not encrypted.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is too long to be what it should be.
    #[error("{path} is over 1 MiB long: it is no certificate and no key")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file of the certificate is damaged.
    #[error("{path} is no certificate in PEM")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The file of the certificate holds none.
    #[error("{path} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file of the key holds none. The parser's own words are left out: they may repeat the key.
    #[error(
        "{path} holds no private key in PEM (PKCS#8, PKCS#1 or SEC1; a key with a password cannot be used)"
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key cannot be used together.
    #[error("{certificate} and {key} cannot be used together")]
    Pair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why: the key is of another certificate, or one of them is of a kind that is not known.
        #[source]
        source: rustls::Error,
    },
    /// The system gives no random bytes, or the like.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// What tells a file from another that has its name; `None`: there is no file.
type FileMark = Option<(u64, u64, Option<SystemTime>)>;

/// The files as they were last looked at.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    marks: [FileMark; 2],
    /// Whether they have been read, for good or bad. If not, another look at the same files may do.
    were_read: bool,
}

/// The certificate that is shown to new connections. Those that are open keep theirs.
#[derive(Debug)]
pub struct Tls {
    files: CertificateFiles,
    config: ArcSwap<ServerConfig>,
    seen: Mutex<Seen>,
}

impl Tls {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// When they cannot be read or used.
    pub fn load(files: CertificateFiles) -> Result<Self, TlsError> {
        // Before they are read: files that are replaced meanwhile are read once more.
        let marks = files.marks();
        let config = files.read()?;
        Ok(Self {
            files,
            config: ArcSwap::from(config),
            seen: Mutex::new(Seen {
                marks,
                were_read: true,
            }),
        })
    }

    /// Looks at the files again, and says whether there was a new certificate in them. It reads the disk, so it is
    /// not for a thread that serves requests.
    ///
    /// # Errors
    /// When files have changed and cannot be used: once for each change. The certificate before stays.
    pub fn look(&self) -> Result<bool, TlsError> {
        let marks = self.files.marks();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = seen.marks == marks;
        if is_known && seen.were_read {
            return Ok(false);
        }
        let read = self.files.read();
        let were_read = !matches!(read, Err(TlsError::Io { .. } | TlsError::Setup(_)));
        *seen = Seen { marks, were_read };
        match read {
            Ok(config) => {
                self.config.store(config);
                Ok(true)
            }
            // Said at the look before.
            Err(_) if is_known => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What should be said about the files, although they can be used.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        let key = &self.files.key;
        let mode = fs::metadata(key).ok()?.permissions().mode();
        (mode & 0o004 != 0).then(|| {
            format!(
                "{}: every user of this machine can read the private key (chmod o-r)",
                key.display()
            )
        })
    }

    /// What a connection that begins now is told.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

impl CertificateFiles {
    fn marks(&self) -> [FileMark; 2] {
        [&self.certificate, &self.key].map(|path| {
            let about = fs::metadata(path).ok()?;
            Some((about.ino(), about.len(), about.modified().ok()))
        })
    }

    fn read(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let chain = read_chain(&self.certificate)?;
        let key =
            PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|_may_repeat_the_key| {
                TlsError::NoKey {
                    path: self.key.clone(),
                }
            })?;
        // The provider is named, because the process has none of its own.
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|source| TlsError::Pair {
                certificate: self.certificate.clone(),
                key: self.key.clone(),
                source,
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A terminal that comes back brings its session along, which saves the server the signature. Sessions end
        // with the certificate that they began with.
        config.ticketer = ring::Ticketer::new().map_err(TlsError::Setup)?;
        Ok(Arc::new(config))
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|source| TlsError::Certificate {
        path: path.to_owned(),
        source,
    })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(chain)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Io {
        path: path.to_owned(),
        source,
    };
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let mut bounded = file.take(FILE_BYTES_MAX + 1);
    bounded.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(TlsError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}
