//! Which values can be right: ranges, forms, and which settings must fit together.

use std::time::Duration;

use tillwatch_model::dimension::is_identifier;
use tracing_subscriber::EnvFilter;

use super::layers::Fault;
use super::{Bytes, Config, Jwks, Span};
use crate::auth::JwksSource;
use crate::auth::jwks::check_url;
use crate::hosts;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Bits in which an open window keeps its release; some numbers are those of reserved names.
const RELEASES_MAX: usize = 60_000;

/// Idempotency keys: more would not be looked up in time.
const KEYS_MAX: usize = 5_000_000;

impl Config {
    /// The first setting that cannot be right.
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.check_numbers()?;
        self.check_times()?;
        self.check_bytes()?;
        self.check_addresses()?;
        self.check_relations()?;
        self.check_doors()?;
        self.check_backup()?;
        self.check_links()?;
        check_level(&self.log.level).map_err(|message| Fault::new("log_level", message))
    }

    fn check_doors(&self) -> Result<(), Fault> {
        let doors = &self.doors;
        for (name, store) in [
            ("doors_legacy_store", &doors.legacy_store),
            ("doors_faro_store", &doors.faro_store),
            ("doors_otlp_store", &doors.otlp_store),
        ] {
            if store.as_ref().is_some_and(|store| !is_identifier(store)) {
                let message = "must be the name of a store: 1 to 64 letters, digits, _ . : or -";
                return Err(Fault::new(name, message));
            }
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), Fault> {
        let (keys, series, requests) = (&self.idempotency_keys, &self.series, &self.requests);
        let (terminals, rate) = (&self.terminals, &self.store_rate);
        for (name, value, most) in [
            ("idempotency_keys_max", keys.max, KEYS_MAX),
            ("seal_rows", self.seal.rows, 100_000_000),
            ("stores_max", series.stores_max, 1_000_000),
            ("releases_max", series.releases_max, RELEASES_MAX),
            ("queues_max", terminals.queues_max, 100_000_000),
            ("store_terminals_max", terminals.store_max, 100_000_000),
            ("connections_max", self.connections.max, 10_000_000),
            ("batches_max", requests.batches_max, 1_000_000),
            ("samples_max", requests.samples_max, 10_000_000),
            // A minute's histogram stands for at most 2^32 values.
            (
                "histogram_values_per_s",
                requests.histogram_values_per_s,
                71_582_788,
            ),
            (
                "store_requests_per_s",
                of_u32(rate.requests_per_s),
                1_000_000_000,
            ),
            ("store_burst", of_u32(rate.burst), 1_000_000_000),
            ("terminal_burst", of_u32(self.limits.terminal_burst), 4_000),
            ("store_rows_per_hour", rate.rows_per_hour, 1_000_000_000),
        ] {
            if !(1..=most).contains(&value) {
                return Err(Fault::new(name, format!("must be between 1 and {most}")));
            }
        }
        if keys.cached > KEYS_MAX {
            let message = format!("must be between 0 and {KEYS_MAX}");
            return Err(Fault::new("idempotency_keys_cached", message));
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), Fault> {
        let (minute, hour) = (60_000, 3_600_000);
        let connections = &self.connections;
        for (name, Span(value), least_ms, most_ms) in [
            ("seal_interval", self.seal.interval, 100, 24 * hour),
            ("journal_keep", self.journal.keep, 0, 24 * hour),
            ("clickhouse_timeout", self.clickhouse.timeout, 1_000, hour),
            ("head_timeout", connections.head_timeout, 1_000, 10 * minute),
            ("idle_timeout", connections.idle_timeout, 1_000, 24 * hour),
            ("body_timeout", self.requests.body_timeout, 100, 10 * minute),
            ("rebuild_quiet", self.rebuild.quiet, 1, 24 * hour),
            (
                "terminal_silent_after",
                self.terminals.silent_after,
                1_000,
                7 * 24 * hour,
            ),
            ("log_slow_request", self.log.slow_request, 1, hour),
            (
                "token_family_life",
                self.auth.family_life,
                hour,
                400 * 24 * hour,
            ),
            ("jwks_refresh", self.auth.jwks_refresh, 10_000, 24 * hour),
            (
                "jwks_stale_max",
                self.auth.jwks_stale_max,
                minute,
                90 * 24 * hour,
            ),
        ] {
            let allowed = Duration::from_millis(least_ms)..=Duration::from_millis(most_ms);
            if !allowed.contains(&value) {
                let [least, most] = [least_ms, most_ms].map(|ms| Span(Duration::from_millis(ms)));
                let message = format!("must be between {least} and {most}");
                return Err(Fault::new(name, message));
            }
        }
        Ok(())
    }

    fn check_bytes(&self) -> Result<(), Fault> {
        let (journal, requests) = (&self.journal, &self.requests);
        for (name, Bytes(value), least, most) in [
            ("window_memory", self.series.window_memory, MIB, TIB),
            ("engine_memory", self.engine.memory, 256 * MIB, 16 * TIB),
            ("seal_journal_bytes", self.seal.journal_bytes, 64 * KIB, TIB),
            // The longest request has to fit.
            ("journal_segment", journal.segment, 4 * MIB, GIB),
            ("journal_budget", journal.budget, 32 * MIB, 16 * TIB),
            ("outbox_budget", self.outbox.budget, KIB, 1024 * TIB),
            ("clickhouse_budget", self.clickhouse.budget, 0, 1024 * TIB),
            ("body_bytes_max", requests.body_bytes_max, KIB, 64 * MIB),
            (
                "decoded_bytes_max",
                requests.decoded_bytes_max,
                KIB,
                64 * MIB,
            ),
            (
                "body_bytes_per_s_min",
                requests.body_bytes_per_s_min,
                1,
                MIB,
            ),
            (
                "in_flight_bytes_max",
                requests.in_flight_bytes_max,
                64 * KIB,
                TIB,
            ),
        ] {
            if !(least..=most).contains(&value) {
                let (least, most) = (Bytes(least), Bytes(most));
                let message = format!("must be between {least} and {most}");
                return Err(Fault::new(name, message));
            }
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), Fault> {
        let listen = &self.listen;
        self.check_tls()?;
        let (auth, admin_auth) = (self.auth_mode(), self.admin_auth_mode());
        if !listen.admin.ip().is_loopback() {
            let has_tls = self.tls.admin_certificate.is_some();
            self.check_reached("admin_listen", "admin_auth", admin_auth, has_tls)?;
        }
        if !listen.ingest.ip().is_loopback() {
            let has_tls = self.tls.certificate.is_some();
            self.check_reached("listen", "auth", auth, has_tls)?;
        }
        if listen.ingest == listen.admin && listen.ingest.port() != 0 {
            return Err(Fault::new(
                "admin_listen",
                format!(
                    "is {}, and so is listen: whoever may post could read everything. Choose another port",
                    listen.admin
                ),
            ));
        }
        if let Some(url) = self.clickhouse.url.as_deref() {
            check_server(url).map_err(|message| Fault::new("clickhouse_url", message))?;
        }
        if let Some(Jwks(JwksSource::Url(url))) = &self.auth.jwks {
            check_url(url).map_err(|message| Fault::new("jwks", message))?;
        }
        for name in &listen.admin_hosts.0 {
            check_host(name).map_err(|message| Fault::new("admin_hosts", message))?;
        }
        for store_id in &self.series.store_list.0 {
            check_store(store_id).map_err(|message| Fault::new("store_list", message))?;
        }
        for origin in &listen.cors_origins.0 {
            check_origin(origin).map_err(|message| Fault::new("cors_origins", message))?;
        }
        Ok(())
    }

    fn check_relations(&self) -> Result<(), Fault> {
        let (Bytes(segment), Bytes(budget)) = (self.journal.segment, self.journal.budget);
        let Bytes(decoded) = self.requests.decoded_bytes_max;
        if budget < 8 * segment {
            let least = Bytes(8 * segment);
            return Err(Fault::new(
                "journal_budget",
                format!("must be at least eight times journal_segment, {least}"),
            ));
        }
        if 2 * decoded > segment {
            return Err(Fault::new(
                "decoded_bytes_max",
                format!(
                    "must be at most half of journal_segment, {}: a request becomes one append",
                    Bytes(segment / 2)
                ),
            ));
        }
        Ok(())
    }

    /// What works, but hardly as it was meant.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let requests = &self.requests;
        let mut doubts = Vec::new();
        if 2 * self.seal.journal_bytes.0 > self.journal.budget.0 {
            doubts.push(
                "seal_journal_bytes is more than half of journal_budget: terminals may be answered 503 before a seal \
                 makes room"
                    .to_owned(),
            );
        }
        doubts.extend(self.doubts_of_reach());
        // A body that comes in pieces shares three quarters; an empty sample takes twice a hundred bytes.
        let samples = u64::try_from(requests.samples_max).unwrap_or(u64::MAX);
        let largest = (4 * requests.body_bytes_max.0 / 3)
            .max(2 * requests.decoded_bytes_max.0 + 256 * samples);
        if requests.in_flight_bytes_max.0 < largest {
            doubts.push(format!(
                "in_flight_bytes_max is below what the largest requests take in memory, {}: they are always answered \
                 503. Raise it, or lower body_bytes_max, decoded_bytes_max or samples_max",
                Bytes(largest)
            ));
        }
        let set = std::env::vars_os().filter(|(_, value)| !value.is_empty());
        let set = set.filter_map(|(name, _)| name.into_string().ok());
        let mut unknown: Vec<String> = set.filter(|name| is_unknown(name)).collect();
        unknown.sort();
        for name in unknown {
            let key = name.trim_start_matches("TILLWATCH_").to_lowercase();
            let nearest = super::nearest(&key).to_uppercase();
            doubts.push(format!(
                "the variable {name} is not a setting and does nothing; did you mean TILLWATCH_{nearest}?"
            ));
        }
        doubts
    }
}

fn of_u32(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Variables that are no settings of `serve`.
const OTHER_VARIABLES: [&str; 5] = [
    "TILLWATCH_CONFIG",
    "TILLWATCH_ADMIN_URL",
    "TILLWATCH_ADMIN_KEY_FILE",
    "TILLWATCH_CA_FILE",
    "TILLWATCH_CLICKHOUSE_PASSWORD",
];

/// Whether a variable looks like a setting and is none. What Kubernetes sets for a service called
/// tillwatch is left alone.
fn is_unknown(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("TILLWATCH_") else {
        return false;
    };
    let is_of_kubernetes = rest.starts_with("PORT") || rest.starts_with("SERVICE_");
    !is_of_kubernetes
        && !OTHER_VARIABLES.contains(&name)
        && !super::SETTINGS
            .iter()
            .any(|setting| setting.variable == name)
}

fn check_server(text: &str) -> Result<(), String> {
    let url = reqwest::Url::parse(text)
        .map_err(|error| format!("{text:?} is not a URL ({error}); write http://host:8123"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(format!("must begin with https:// or http://, not {text:?}"));
    }
    if url.host_str().is_none() || url.path() != "/" || url.query().is_some() {
        return Err(format!(
            "{text:?} must be a host and a port alone; write http://host:8123"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "must not hold a user or a password: logs show it. Use clickhouse_user and clickhouse_password_file"
                .to_owned(),
        );
    }
    Ok(())
}

fn check_host(text: &str) -> Result<(), String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Err(format!(
            "{text:?} is an address, and by those it may always be asked"
        ));
    }
    if hosts::is_name(text.strip_suffix('.').unwrap_or(text)) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is not the name of a host; write it without scheme, port and wildcards: tillwatch.example.com"
    ))
}

fn check_store(text: &str) -> Result<(), String> {
    if is_identifier(text) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is not the name of a store; write each as its tills send it: [A-Za-z0-9_.:-]{{1,64}}"
    ))
}

fn check_origin(text: &str) -> Result<(), String> {
    if text.contains('*') {
        return Err(format!(
            "{text:?} would match no page, because origins are compared as they are; write each origin out, such as https://pos.example.com"
        ));
    }
    let Ok(url) = reqwest::Url::parse(text) else {
        return Err(format!(
            "{text:?} is not an origin; write https://pos.example.com, or capacitor://localhost for an app shell"
        ));
    };
    let origin = origin_of(&url).ok_or_else(|| {
        format!("{text:?} is no origin that a page can have; write https://pos.example.com, or capacitor://localhost for an app shell")
    })?;
    if origin == text {
        return Ok(());
    }
    Err(format!(
        "{text:?} is not as browsers send it; write {origin}"
    ))
}

/// The origin of a page at this address, as its browser sends it. An app shell has a scheme of its own.
fn origin_of(url: &reqwest::Url) -> Option<String> {
    match url.scheme() {
        "http" | "https" => Some(url.origin().ascii_serialization()),
        // Pages do not come by these, or their browser calls their origin `null`.
        "ftp" | "ws" | "wss" | "file" | "data" | "blob" | "about" | "javascript" => None,
        shell => {
            let host = url.host_str().filter(|host| !host.is_empty())?;
            let port = url.port().map(|port| format!(":{port}"));
            let port = port.unwrap_or_default();
            Some(format!("{shell}://{}{port}", host.to_ascii_lowercase()))
        }
    }
}

fn check_level(text: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let explain = || {
        format!(
            "{text:?} is not a log level; write error, warn, info or debug, or as RUST_LOG has it (tillwatch=debug)"
        )
    };
    // A bare word that is no level would silence everything else.
    let is_known =
        |part: &str| part.contains('=') || LEVELS.contains(&part.to_lowercase().as_str());
    if !text.split(',').all(is_known) {
        return Err(explain());
    }
    EnvFilter::try_new(text)
        .map(drop)
        .map_err(|_invalid| explain())
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigError, Flags, SETTINGS};

    fn load(flags: Flags, text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tillwatch.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(flags, Some(&path))
    }

    /// For each setting a value that is written well and cannot be right, and a word of the way out.
    const WRONG: &[(&str, &str, &str)] = &[
        ("listen", "0.0.0.0:1", "allow_unauthenticated"),
        ("admin_listen", "127.0.0.1:8080", "another port"),
        (
            "admin_hosts",
            "http://tillwatch:9090",
            "without scheme, port",
        ),
        ("admin_hosts", "*.example.com", "wildcards"),
        ("admin_hosts", "10.0.0.1", "always be asked"),
        (
            "cors_origins",
            "https://a.example/",
            "write https://a.example",
        ),
        ("cors_origins", "pos.example.com", "write https://"),
        ("cors_origins", "https://*.example.com", "write each origin"),
        ("cors_origins", "*", "write each origin"),
        ("cors_origins", "null", "write https://"),
        (
            "cors_origins",
            "capacitor://localhost/",
            "write capacitor://localhost",
        ),
        ("cors_origins", "app://POS", "write app://pos"),
        ("cors_origins", "capacitor:localhost", "write https://"),
        ("cors_origins", "file:///index.html", "write https://"),
        ("cors_origins", "wss://pos.example.com", "write https://"),
        ("grafana_url", "javascript:alert(1)", "must begin with"),
        ("clickhouse_url", "ftp://db:8443", "http://"),
        (
            "clickhouse_url",
            "http://db:8123/path",
            "write http://host:8123",
        ),
        (
            "clickhouse_url",
            "http://me:secret@db:8123",
            "clickhouse_password_file",
        ),
        ("clickhouse_timeout", "1ms", "between 1s and 1h"),
        ("engine_memory", "1MiB", "between 256MiB and 16TiB"),
        ("seal_interval", "10ms", "between 100ms and 1d"),
        ("seal_journal_bytes", "1", "between 64KiB and 1TiB"),
        ("seal_rows", "0", "between 1 and"),
        (
            "journal_budget",
            "33MiB",
            "eight times journal_segment, 128MiB",
        ),
        ("journal_keep", "2d", "between 0ms and 1d"),
        ("journal_segment", "1MiB", "between 4MiB and 1GiB"),
        ("outbox_budget", "1", "between 1KiB"),
        ("clickhouse_budget", "2000TiB", "between 0"),
        ("backup_dir", "tillwatch-data", "lies in data_dir"),
        ("backup_dir", "./tillwatch-data/b", "on another disk"),
        ("backup_interval", "1s", "between 1m and 90d"),
        ("backup_keep", "0", "between 1 and 1000"),
        ("stores_max", "0", "between 1 and"),
        ("store_list", "store-1, store 2", "as its tills send it"),
        ("rebuild_quiet", "9d", "between 1ms and 1d"),
        ("log_slow_request", "0s", "between 1ms and 1h"),
        ("idempotency_keys_max", "6000000", "between 1 and 5000000"),
        (
            "idempotency_keys_cached",
            "6000000",
            "between 0 and 5000000",
        ),
        ("native_histograms", "maybe", "true"),
        ("releases_max", "70000", "between 1 and 60000"),
        ("window_memory", "1KiB", "between 1MiB and 1TiB"),
        ("queues_max", "0", "between 1 and"),
        ("store_terminals_max", "0", "between 1 and"),
        ("terminal_silent_after", "0s", "between 1s and 7d"),
        ("connections_max", "0", "between 1 and"),
        ("head_timeout", "0s", "between 1s and 10m"),
        ("idle_timeout", "2d", "between 1s and 1d"),
        ("body_timeout", "1d", "between 100ms and 10m"),
        ("body_bytes_max", "1", "between 1KiB and 64MiB"),
        ("body_bytes_per_s_min", "0", "between 1 and 1MiB"),
        ("decoded_bytes_max", "9MiB", "half of journal_segment, 8MiB"),
        ("batches_max", "0", "between 1 and"),
        ("samples_max", "0", "between 1 and"),
        ("histogram_values_per_s", "0", "between 1 and 71582788"),
        ("in_flight_bytes_max", "1KiB", "between 64KiB"),
        ("store_requests_per_s", "0", "between 1 and"),
        ("store_burst", "0", "between 1 and"),
        ("store_rows_per_hour", "0", "between 1 and"),
        ("log_format", "xml", "text or json"),
        ("log_level", "verbos", "error, warn, info or debug"),
        ("log_level", "tillwatch=loud", "error, warn, info or debug"),
        ("allow_unauthenticated", "maybe", "true"),
        ("auth", "maybe", "off or required"),
        ("behind_proxy", "maybe", "true"),
        ("admin_auth", "maybe", "off or required"),
        ("trusted_proxies", "10.0.0.0/40", "10.0.0.0/8"),
        ("token_family_life", "2000d", "between 1h and 400d"),
        ("jwks", "http://issuer.example.com/keys", "https"),
        ("jwks_refresh", "1s", "between 10s and 1d"),
        ("jwks_stale_max", "1s", "between 1m and 90d"),
        ("browser_app_keys", "maybe", "true"),
        ("tls_certificate", "cert.pem", "needs tls_key"),
        ("tls_key", "key.pem", "needs tls_certificate"),
        ("admin_tls_certificate", "cert.pem", "needs admin_tls_key"),
        ("admin_tls_key", "key.pem", "needs admin_tls_certificate"),
        ("terminal_rate", "20", "20/min"),
        ("terminal_burst", "0", "between 1 and"),
        ("store_rate", "1/day", "20/min"),
        ("store_rate_per_terminal", "-1/s", "20/min"),
        ("store_rates", "store-001", "store-001=600/min"),
        ("browser_app_rate", "many", "20/min"),
        ("address_rate", "0/s", "20/min"),
        ("exempt_networks", "localhost", "10.0.0.0/8"),
        ("doors_legacy_consent", "maybe", "required or assumed"),
        ("doors_legacy_store", "no store", "letters, digits"),
        ("doors_faro_consent", "maybe", "required or assumed"),
        ("doors_faro_store", "no store", "letters, digits"),
        ("doors_faro_logs", "maybe", "true"),
        ("doors_otlp_consent", "maybe", "required or assumed"),
        ("doors_otlp_store", "no store", "letters, digits"),
        ("map_sets", "otel", "faro, otel_web, otel_process"),
    ];

    /// Any text is a path or a name; whether it can be used is found out when it is.
    const FREE: [&str; 8] = [
        "terminal_inventory",
        "rollout_plan",
        "clickhouse_ca_file",
        "jwks_ca_file",
        "data_dir",
        "clickhouse_user",
        "clickhouse_password_file",
        "libchdb",
    ];

    #[test]
    fn origins_of_sites_and_of_app_shells_can_be_listed() {
        let origins = [
            "https://pos.example.com",
            "http://localhost:5173",
            "capacitor://localhost",
            "ionic://localhost",
            "tauri://localhost",
            "app://pos",
            "app://pos:8080",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        ];
        for origin in origins {
            let config = load(
                Flags::default(),
                &format!("cors_origins = [\"{origin}\"]\n"),
            );
            assert_eq!(config.unwrap().listen.cors_origins.0, [origin]);
        }
    }

    #[test]
    fn every_setting_has_a_value_that_is_refused_with_its_line_and_the_way_out() {
        for (name, value, word) in WRONG {
            let error = load(
                Flags::default(),
                &format!("# mine\n\n{name} = \"{value}\"\n"),
            )
            .unwrap_err();
            let said = error.to_string();
            assert!(
                said.contains("line 3") && said.contains(name) && said.contains(word),
                "{name} = {value}: {said}"
            );
            assert!(!said.contains("secret"), "{said}");
        }
        for setting in SETTINGS {
            let is_tried = WRONG.iter().any(|(name, ..)| *name == setting.name);
            assert!(is_tried != FREE.contains(&setting.name), "{}", setting.name);
        }
    }

    #[test]
    fn a_flag_and_a_default_are_named_as_such() {
        let flags = Flags {
            seal_rows: Some(0),
            ..Flags::default()
        };
        let said = load(flags, "seal_rows = 5\n").unwrap_err().to_string();
        assert!(said.contains("--seal-rows (TILLWATCH_SEAL_ROWS)"), "{said}");
        let said = load(Flags::default(), "journal_segment = \"1GiB\"\n")
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("journal_budget (not given, so 4GiB)"),
            "{said}"
        );
    }

    #[test]
    fn doubtful_relations_are_told() {
        let config = load(
            Flags::default(),
            "journal_budget = \"128MiB\"\nseal_journal_bytes = \"100MiB\"\n",
        );
        let doubts = config.unwrap().doubts().join("\n");
        assert!(
            doubts.contains("seal_journal_bytes is more than half"),
            "{doubts}"
        );
        let config = load(Flags::default(), "behind_proxy = true\n");
        let doubts = config.unwrap().doubts().join("\n");
        assert!(
            doubts.contains("auth is off") && doubts.contains("trusted_proxies is not"),
            "{doubts}"
        );
        assert!(super::is_unknown("TILLWATCH_SEAL_INTERVALL"));
        for name in [
            "TILLWATCH_SEAL_INTERVAL",
            "TILLWATCH_CONFIG",
            "TILLWATCH_PORT_80_TCP",
            "PATH",
        ] {
            assert!(!super::is_unknown(name), "{name}");
        }
    }
}
