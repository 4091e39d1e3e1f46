//! Whether what others reach asks them who they are, and whether nobody else can hear the answer.

use super::Config;
use super::layers::Fault;
use crate::auth::Mode;

impl Config {
    /// Checks an address that others reach.
    pub(super) fn check_reached(
        &self,
        name: &'static str,
        auth: &str,
        mode: Mode,
        has_tls: bool,
    ) -> Result<(), Fault> {
        if mode == Mode::Off && !self.listen.allow_unauthenticated {
            return Err(Fault::new(
                name,
                format!(
                    "is not a loopback address, and {auth} is off: anybody could ask. Set {auth} = \"required\", or put a \
                     proxy that authenticates before it and set allow_unauthenticated = true \
                     (TILLWATCH_ALLOW_UNAUTHENTICATED=true)"
                ),
            ));
        }
        if mode == Mode::Required && !has_tls && !self.auth.behind_proxy {
            let tls = if name == "listen" { "tls" } else { "admin_tls" };
            return Err(Fault::new(
                name,
                format!(
                    "is not a loopback address, and credentials would arrive in plain HTTP, where they can be read. Give it \
                     a certificate ({tls}_certificate, {tls}_key), or put a proxy that speaks TLS before it and set \
                     behind_proxy = true (TILLWATCH_BEHIND_PROXY=true), or one that authenticates, too, and set \
                     allow_unauthenticated = true"
                ),
            ));
        }
        Ok(())
    }

    /// Checks that a certificate comes with its key.
    pub(super) fn check_tls(&self) -> Result<(), Fault> {
        let tls = &self.tls;
        for (name, is_given, other, is_other_given) in [
            (
                "tls_certificate",
                tls.certificate.is_some(),
                "tls_key",
                tls.key.is_some(),
            ),
            (
                "admin_tls_certificate",
                tls.admin_certificate.is_some(),
                "admin_tls_key",
                tls.admin_key.is_some(),
            ),
        ] {
            if is_given && !is_other_given {
                return Err(Fault::new(name, format!("needs {other}, too")));
            }
            if is_other_given && !is_given {
                return Err(Fault::new(other, format!("needs {name}, too")));
            }
        }
        Ok(())
    }

    /// What works, and lets others do more than was meant.
    pub(super) fn doubts_of_reach(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let has_proxy = self.auth.behind_proxy || !self.auth.trusted_proxies.0.is_empty();
        if has_proxy && !self.listen.allow_unauthenticated {
            for (name, mode) in [
                ("auth", self.auth_mode()),
                ("admin_auth", self.admin_auth_mode()),
            ] {
                if mode == Mode::Off {
                    doubts.push(format!(
                        "a proxy stands before tillwatch, and {name} is off: whoever reaches the proxy may do everything. \
                         Set {name} = \"required\""
                    ));
                }
            }
        }
        if self.auth.behind_proxy && self.auth.trusted_proxies.0.is_empty() {
            doubts.push(
                "behind_proxy is set and trusted_proxies is not: all clients of the proxy count as one address, or, if it \
                 is exempt, are not counted at all"
                    .to_owned(),
            );
        }
        doubts
    }
}
