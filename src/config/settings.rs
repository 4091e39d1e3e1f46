//! Declares every setting once: its name in the file, its flag, its variable, its default and its help.
//!
//! A flag, a variable or a line of the file may be absent; in a [`Config`] every setting has its value. Only a
//! setting whose default is `none` is an `Option` there, because its absence has a meaning of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::layers::{Fault, Given};
use super::tables::Declarations;
use super::values::{
    Bytes, Consent, Jwks, List, MapSets, Networks, Rate, Span, StoreRates, Written,
};
use crate::auth::Mode;
use crate::logging::Format;

/// One setting, for the reference and for finding typos.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The setting's name in the file.
    pub name: &'static str,
    /// The setting's environment variable.
    pub variable: &'static str,
    /// The setting's default; empty: none.
    pub default: &'static str,
    /// What the setting does, and what happens when it is too small or too large.
    pub help: &'static str,
    /// Whether `serve` takes a new value on SIGHUP.
    pub is_reloadable: bool,
}

/// The type of a setting whose value is known.
macro_rules! whole {
    ($type:ty, none) => { Option<$type> };
    ($type:ty, $default:literal) => { $type };
}

/// The text of a default.
macro_rules! default_text {
    (none) => {
        ""
    };
    ($default:literal) => {
        $default
    };
}

/// The value of a setting: the one that was given, else its default.
macro_rules! value {
    ($given:expr, none) => {
        $given.value()
    };
    ($given:expr, $default:literal) => {
        $given.value_or($default)
    };
}

macro_rules! settings {
    ($(
        $(#[$about:meta])*
        $group:ident: $Group:ident {
            $($variable:literal $name:ident => $field:ident: $type:ty = $default:tt, $help:literal $(, $when:ident)?;)*
        }
    )*) => {
        /// All settings with their values.
        #[derive(Debug, Clone)]
        pub struct Config {
            $($(#[$about])* pub $group: $Group,)*
            /// What the file declares in tables.
            pub declared: Declarations,
        }

        $(
            $(#[$about])*
            #[derive(Debug, Clone)]
            pub struct $Group { $(#[doc = concat!("See `", stringify!($name), "` in [`SETTINGS`].")] pub $field: whole!($type, $default),)* }
        )*

        /// The settings as flags, each also as a variable.
        #[derive(Debug, Clone, Default, clap::Args)]
        pub struct Flags {
            $($(#[doc = concat!("See `", stringify!($name), "` in [`SETTINGS`].")] #[arg(long, env = $variable, help = help_of($help, default_text!($default)), value_name = <$type as Written>::NAME, hide_env_values = true)]
            pub $name: Option<$type>,)*)*
        }

        /// Every setting.
        pub const SETTINGS: &[Setting] = &[$($(Setting {
            name: stringify!($name), variable: $variable, default: default_text!($default), help: $help,
            is_reloadable: !concat!($(stringify!($when))?).is_empty(),
        }),*),*];

        impl Config {
            /// Takes one setting's value from `other`.
            pub fn take(&mut self, name: &str, other: &Self) {
                $($(if name == stringify!($name) { self.$group.$field.clone_from(&other.$group.$field); })*)*
            }

            /// The value of a setting as it would be written; empty: none.
            #[must_use]
            pub fn text_of(&self, name: &str) -> String {
                $($(if name == stringify!($name) { return self.$group.$field.written(); })*)*
                String::new()
            }

            /// Lays the flags over the file, and the file over the defaults.
            pub(super) fn laid(flags: Flags, file: &toml::Table) -> Result<Self, Fault> {
                Ok(Self { $($group: $Group {
                    $($field: {
                        let given = Given { name: stringify!($name), flag: flags.$name, file };
                        value!(given, $default)?
                    },)*
                },)* declared: Declarations::default() })
            }
        }

        impl Flags {
            /// Names of the settings given as flags or variables.
            pub(super) fn given(&self) -> Vec<&'static str> {
                let all = [$($(self.$name.is_some().then_some(stringify!($name))),*),*];
                all.into_iter().flatten().collect()
            }
        }
    };
}

settings! {
    /// Where the collector keeps what it has.
    data: Data {
        "TILLWATCH_DATA_DIR" data_dir => dir: PathBuf = "tillwatch-data", "Where tillwatch keeps the journal, the state file and the embedded engine's data. No other program may use this folder";
    }
    /// Where it is asked, and by whom.
    listen: Listen {
        "TILLWATCH_LISTEN" listen => ingest: SocketAddr = "127.0.0.1:8080", "The address to which terminals post. With port 0 the system chooses a free port";
        "TILLWATCH_ADMIN_LISTEN" admin_listen => admin: SocketAddr = "127.0.0.1:9090", "The address that serves metrics, the query API and health. Without admin_auth, whoever reaches it can read everything";
        "TILLWATCH_ADMIN_HOSTS" admin_hosts => admin_hosts: List = "", "Host names by which the admin listener may be asked, beside IP addresses and localhost: a container's service name, a proxy's name. Separate the names by commas and leave out ports. Requests that name another host are refused, because any web page could send them through a browser", reload;
        "TILLWATCH_ALLOW_UNAUTHENTICATED" allow_unauthenticated => allow_unauthenticated: bool = "false", "Allows tillwatch to listen on addresses other than loopback without asking anybody for a credential, unless auth or admin_auth is required. Use this setting only behind a proxy that authenticates";
        "TILLWATCH_CORS_ORIGINS" cors_origins => cors_origins: List = "", "Web origins whose pages may post, written with commas and exactly as browsers send them (https://pos.example.com, or capacitor://localhost for an app shell)", reload;
    }
    /// What the console links to.
    console: Console {
        "TILLWATCH_GRAFANA_URL" grafana_url => grafana_url: String = none, "The address of the Grafana that shows the dashboards of tillwatch, as a browser reaches it (https://grafana.example.com). The console then links each number to its board";
    }
    /// Who may post.
    auth: Auth {
        "TILLWATCH_AUTH" auth => mode: Mode = none, "Whether terminals must show a token: off or required. Without this setting nobody is asked on a loopback address, and everybody on any other unless allow_unauthenticated is set. tillwatch token makes keys and tokens";
        "TILLWATCH_ADMIN_AUTH" admin_auth => admin_mode: Mode = none, "Whether whoever asks the admin listener must show a key with the right scope (metrics, read or operate): off or required. Without this setting nobody is asked on a loopback address, and everybody on any other unless allow_unauthenticated is set. tillwatch key new makes keys";
        "TILLWATCH_BEHIND_PROXY" behind_proxy => behind_proxy: bool = "false", "Says that a proxy which speaks TLS stands before both listeners, or that the network between is your own, so that credentials may arrive in plain HTTP";
        "TILLWATCH_TRUSTED_PROXIES" trusted_proxies => trusted_proxies: Networks = "none", "Networks of proxies that are believed about the address of a client (Forwarded, X-Forwarded-For), written with commas, such as 10.0.0.0/8. A request counts under the last address that is none of them", reload;
        "TILLWATCH_TOKEN_FAMILY_LIFE" token_family_life => family_life: Span = "400d", "How long after a token was issued it, and those made of it, can be renewed. After that the terminal needs another token";
        "TILLWATCH_JWKS" jwks => jwks: Jwks = none, "Where the public keys of your own backend come from, if it signs tokens: a file, or an https URL of a JSON Web Key Set (RFC 7517). Keys of the kinds Ed25519, P-256 and RSA count, each with one algorithm (EdDSA, ES256, RS256)";
        "TILLWATCH_JWKS_REFRESH" jwks_refresh => jwks_refresh: Span = "15m", "How often the URL of jwks is asked again. A token with an unknown key has it asked early, at most once a minute";
        "TILLWATCH_JWKS_STALE_MAX" jwks_stale_max => jwks_stale_max: Span = "3d", "How long the last good key set counts while jwks gives none, over restarts, too. If the time is too short, an outage of your backend locks out its terminals; if it is too long, a key that was withdrawn meanwhile counts on";
        "TILLWATCH_JWKS_CA_FILE" jwks_ca_file => jwks_ca_file: PathBuf = none, "A file of certificates (PEM) that are trusted beside those of the system when the URL of jwks is asked";
        "TILLWATCH_BROWSER_APP_KEYS" browser_app_keys => are_apps_let_in: bool = "false", "Whether pages of cors_origins may post with the key of a browser application (x-api-key). Everybody can read such a key, so what comes with it is stored with the source synthetic and feeds no series that pages";
    }
    /// Certificates of the listeners.
    tls: Tls {
        "TILLWATCH_TLS_CERTIFICATE" tls_certificate => certificate: PathBuf = none, "The certificate of listen, with its chain (PEM). With this setting and tls_key, listen speaks TLS 1.2 and 1.3 and nothing else. Files that change are taken within seconds";
        "TILLWATCH_TLS_KEY" tls_key => key: PathBuf = none, "The private key of tls_certificate (PEM)";
        "TILLWATCH_ADMIN_TLS_CERTIFICATE" admin_tls_certificate => admin_certificate: PathBuf = none, "The certificate of admin_listen, with its chain (PEM), as tls_certificate is of listen";
        "TILLWATCH_ADMIN_TLS_KEY" admin_tls_key => admin_key: PathBuf = none, "The private key of admin_tls_certificate (PEM)";
    }
    /// How often whoever has shown a credential may post, and how often an address may.
    limits: Limits {
        "TILLWATCH_TERMINAL_RATE" terminal_rate => terminal: Rate = "20/min", "How often one terminal may post in the long run, as its token names it. Further requests are answered 429. Write 20/min, 0.5/s, 100/h or off; what it kept while it was offline (?class=backlog) has a bucket of its own of the same size", reload;
        "TILLWATCH_TERMINAL_BURST" terminal_burst => terminal_burst: u32 = "60", "How many requests one terminal may send at once after a quiet time", reload;
        "TILLWATCH_STORE_RATE" store_rate => store: Rate = "100/min", "How often all terminals of one store together may post, as their tokens name it, or store_rate_per_terminal for each of them if that is more. A minute's worth may come at once. Further requests are answered 429", reload;
        "TILLWATCH_STORE_RATE_PER_TERMINAL" store_rate_per_terminal => per_terminal: Rate = "12/min", "How often a store may post for each terminal that is known in it, if that is more than store_rate", reload;
        "TILLWATCH_STORE_RATES" store_rates => stores: StoreRates = "", "Stores whose rate is another one, such as store-001=600/min, store-002=off", reload;
        "TILLWATCH_BROWSER_APP_RATE" browser_app_rate => app: Rate = "1000/min", "How often one browser application may post, all of its pages together. Further requests are answered 429", reload;
        "TILLWATCH_ADDRESS_RATE" address_rate => address: Rate = "1000/min", "How often one address may post or ask for a token; of IPv6, one /64. A minute's worth may come at once. Further requests are answered 429 before anything else of them is looked at. Addresses are neither kept nor logged", reload;
        "TILLWATCH_EXEMPT_NETWORKS" exempt_networks => exempt: Networks = "127.0.0.0/8, ::1/128", "Networks whose requests are not counted by address: a proxy of your own that many terminals share and that does not say who they are", reload;
    }
    /// Where rollups are shipped to. Without a server the embedded engine is started.
    clickhouse: ClickHouse {
        "TILLWATCH_CLICKHOUSE_URL" clickhouse_url => url: String = none, "The address of a ClickHouse server, as in https://host:8443 or http://host:8123. Without this setting tillwatch starts the embedded engine";
        "TILLWATCH_CLICKHOUSE_USER" clickhouse_user => user: String = "default", "The user on the ClickHouse server. The password comes from TILLWATCH_CLICKHOUSE_PASSWORD or clickhouse_password_file";
        "TILLWATCH_CLICKHOUSE_PASSWORD_FILE" clickhouse_password_file => password_file: PathBuf = none, "The file that holds the password for the ClickHouse server";
        "TILLWATCH_CLICKHOUSE_CA_FILE" clickhouse_ca_file => ca_file: PathBuf = none, "A file of certificates (PEM) that alone are trusted for an https clickhouse_url. Without this setting those of the system are";
        "TILLWATCH_CLICKHOUSE_BUDGET" clickhouse_budget => budget: Bytes = "512GiB", "How much disk the tables in ClickHouse may take. When they take more, tillwatch drops the oldest days of minutes, terminals and sessions, and after them the oldest weeks of hourly rollups; the last ten days always stay. 0 drops nothing, which several collectors on one server need: each sees the tables of all";
        "TILLWATCH_CLICKHOUSE_TIMEOUT" clickhouse_timeout => timeout: Span = "60s", "How long one statement to ClickHouse may take. If the time is too short, large inserts are sent again and again";
    }
    /// The embedded engine.
    engine: Engine {
        "TILLWATCH_LIBCHDB" libchdb => libchdb: PathBuf = none, "The file of the embedded engine's library. Without this setting tillwatch uses the library that npm installed";
        "TILLWATCH_ENGINE_MEMORY" engine_memory => memory: Bytes = "2GiB", "How much memory the embedded engine may use";
    }
    /// When what is open becomes an epoch.
    seal: Seal {
        "TILLWATCH_SEAL_INTERVAL" seal_interval => interval: Span = "5m", "How often tillwatch seals the open windows into an epoch and ships it. A shorter interval gives fresher tables with more rows, a longer one a longer replay after a crash", reload;
        "TILLWATCH_SEAL_JOURNAL_BYTES" seal_journal_bytes => journal_bytes: Bytes = "64MiB", "How much the journal may grow before tillwatch seals early. The limit bounds the replay at a start", reload;
        "TILLWATCH_SEAL_ROWS" seal_rows => rows: usize = "200000", "How many open rows there may be before tillwatch seals early. The limit bounds the memory of open windows";
    }
    /// When hours are summed up.
    rebuild: Rebuild {
        "TILLWATCH_REBUILD_QUIET" rebuild_quiet => quiet: Span = "10m", "How long a finished hour of a store must receive no data before it is summed up in rollup_1h. If the time is too short, hours with late data are summed up again and again; if it is too long, queries over long ranges read more minutes";
    }
    /// The journal on disk.
    journal: Journal {
        "TILLWATCH_JOURNAL_BUDGET" journal_budget => budget: Bytes = "4GiB", "How much disk the journal may take. When the budget is used up, terminals are answered 503";
        "TILLWATCH_JOURNAL_KEEP" journal_keep => keep: Span = "1h", "How long records stay in the journal after they were sealed, so that tillwatch explain can say what became of each sample of a batch. They give way once the journal takes more than half of journal_budget. 0s keeps nothing";
        "TILLWATCH_JOURNAL_SEGMENT" journal_segment => segment: Bytes = "16MiB", "How long one file of the journal is";
    }
    /// What waits for ClickHouse on disk.
    outbox: Outbox {
        "TILLWATCH_OUTBOX_BUDGET" outbox_budget => budget: Bytes = "16GiB", "How much disk the epochs that wait for ClickHouse may take. When the budget is used up, terminals are answered 503", reload;
    }
    /// Backups of the state file that are made by themselves.
    backup: Backup {
        "TILLWATCH_BACKUP_DIR" backup_dir => dir: PathBuf = none, "The folder in which serve makes backups of the state file by itself. It must exist, on another disk than data_dir; tillwatch does not make it, because the folder of a disk that is not mounted would look like an empty one. Without this setting serve makes no backups";
        "TILLWATCH_BACKUP_INTERVAL" backup_interval => interval: Span = "1d", "How old the newest backup in backup_dir may become before serve makes another. What a terminal sent since the newest backup, and ClickHouse does not have, is lost with the disk of data_dir";
        "TILLWATCH_BACKUP_KEEP" backup_keep => keep: usize = "7", "How many backups that serve has made stay in backup_dir. The oldest goes only after the newest has been read back; backups made by tillwatch backup, and those of other collectors, stay";
    }
    /// By what the releases of the application are judged.
    rollout: Rollout {
        "TILLWATCH_ROLLOUT_PLAN" rollout_plan => plan: PathBuf = none, "The plan (TOML) by which each new release of the application is judged while it is rolled out: its steps, metrics and limits. tillwatch rollout plan prints the default, which is used without this setting, and checks a file";
    }
    /// Which series there are, and what their last minutes take.
    series: Series {
        "TILLWATCH_STORES_MAX" stores_max => stores_max: usize = "5000", "How many stores may have series, and a share of queues and keys, of their own. Further stores are counted under the name __overflow__ and have one share together. When all places are taken, a store that has reported for less than a day makes room once it has been silent for longer than it reported, and any other store after 30 days of silence";
        "TILLWATCH_STORE_LIST" store_list => store_list: List = "", "The stores of the fleet, written with commas or as an array. If stores are listed, they have series and a share of queues and keys of their own whatever stores_max says, and all others are counted under the name __overflow__ and have one share together. Without a list, whoever may post can invent stores until stores_max is reached";
        "TILLWATCH_RELEASES_MAX" releases_max => releases_max: usize = "32", "How many releases may have series of their own. A new release is counted under the name __new__ until a second terminal reports it, and at most two new ones a day come from one store. Further releases are counted under the name __overflow__ until another release has been silent for 9 days, or for longer than it reported if that was less than a day";
        "TILLWATCH_NATIVE_HISTOGRAMS" native_histograms => native_histograms: bool = "false", "Whether /metrics/fleet serves native histograms to a Prometheus that asks for protobuf. Turning native histograms on starts the histograms at 0, as the restart of a counter does";
        "TILLWATCH_WINDOW_MEMORY" window_memory => window_memory: Bytes = "128MiB", "How much memory the minutes behind the window gauges may take for all stores together. Beyond the limit, the store that takes most loses its oldest minutes";
    }
    /// How many terminals are told apart.
    terminals: Terminals {
        "TILLWATCH_QUEUES_MAX" queues_max => queues_max: usize = "400000", "How many terminal queues tillwatch remembers sequence numbers of. Half of them are divided evenly among the stores, and of the other half a store gets more only while it holds fewer than are left. Beyond its share, batches of a store's new queue are answered 503, and new terminals without a queue are counted under the name __overflow__";
        "TILLWATCH_STORE_TERMINALS_MAX" store_terminals_max => store_max: usize = "10000", "How many terminals one store may have. Beyond the limit, batches of a new terminal with a queue are answered 503, and new terminals without a queue are counted under the name __overflow__. If the limit is too large, one store with invented terminals takes the room of all stores";
        "TILLWATCH_TERMINAL_SILENT_AFTER" terminal_silent_after => silent_after: Span = "1h", "How long a terminal may send nothing in hours in which it is used to report before it is called silent. Only time counts in which the collector was ready. If the time is too short, a till that is idle over lunch is called dead; if it is too long, a dead till is found late";
        "TILLWATCH_TERMINAL_INVENTORY" terminal_inventory => inventory: PathBuf = none, "A file of comma-separated values that says which terminals exist: store_id, terminal_id, and if you like opening_hours (such as Mo-Fr 08:00-20:00; Sa 09:00-18:00) with time_zone. Then only these are called silent, also those that were never heard of while their store was, and by their opening hours in place of their habit";
    }
    /// Idempotency keys, of senders without a queue.
    idempotency_keys: IdempotencyKeys {
        "TILLWATCH_IDEMPOTENCY_KEYS_MAX" idempotency_keys_max => max: usize = "5000000", "How many idempotency keys tillwatch remembers. Each key is kept for 25 hours and takes about 80 bytes of the state file. The keys are shared among the stores as the queues are. Beyond its share, a store's batches with a new key are answered 503";
        "TILLWATCH_IDEMPOTENCY_KEYS_CACHED" idempotency_keys_cached => cached: usize = "100000", "How many idempotency keys tillwatch holds in memory, about 350 bytes each. tillwatch looks the other keys up in the state file";
    }
    /// Connections of the ingest listener.
    connections: Connections {
        "TILLWATCH_CONNECTIONS_MAX" connections_max => max: usize = "25000", "How many connections may be open at once, within the system's limit of open files. Beyond the limit, tillwatch closes the longest idle connection, then the slowest";
        "TILLWATCH_HEAD_TIMEOUT" head_timeout => head_timeout: Span = "5s", "How long the head of a request may take from its first byte. A slower request is answered 408";
        "TILLWATCH_IDLE_TIMEOUT" idle_timeout => idle_timeout: Span = "120s", "How long a connection may be idle. Terminals post about once a minute";
    }
    /// What a request may hold, and how long it may take to come.
    requests: Requests {
        "TILLWATCH_BODY_TIMEOUT" body_timeout => body_timeout: Span = "120s", "How long the body of a request may take from the end of the head. A slower request is answered 503", reload;
        "TILLWATCH_BODY_BYTES_PER_S_MIN" body_bytes_per_s_min => body_bytes_per_s_min: Bytes = "1KiB", "How many bytes a second a body must bring on average after its first 10 s. A slower request is answered 503", reload;
        "TILLWATCH_BODY_BYTES_MAX" body_bytes_max => body_bytes_max: Bytes = "2MiB", "How large the body of a request may be as it is sent. A larger request is answered 413", reload;
        "TILLWATCH_DECODED_BYTES_MAX" decoded_bytes_max => decoded_bytes_max: Bytes = "2MiB", "How large the body of a request may be after decompression. A larger request is answered 413", reload;
        "TILLWATCH_BATCHES_MAX" batches_max => batches_max: usize = "500", "How many batches a request may hold. A larger request is answered 413", reload;
        "TILLWATCH_SAMPLES_MAX" samples_max => samples_max: usize = "50000", "How many samples and histograms a request may hold. A larger request is answered 413", reload;
        "TILLWATCH_HISTOGRAM_VALUES_PER_S" histogram_values_per_s => histogram_values_per_s: usize = "1000", "How many values a terminal's histogram may stand for, for each second of its span. A heavier histogram is rejected. If the limit is too large, one mistaken histogram outweighs a whole fleet", reload;
        "TILLWATCH_IN_FLIGHT_BYTES_MAX" in_flight_bytes_max => in_flight_bytes_max: Bytes = "256MiB", "How much memory all requests under way may take together: received bodies, what is parsed from them, and what waits for the disk. Beyond the limit, requests with the slowest bodies are answered 503 first, then every request";
    }
    /// How often one store may ask.
    store_rate: StoreRate {
        "TILLWATCH_STORE_REQUESTS_PER_S" store_requests_per_s => requests_per_s: u32 = "1000", "How many requests a second one store may send in the long run while auth is off; with tokens, store_rate counts instead. Further requests are answered 429", reload;
        "TILLWATCH_STORE_BURST" store_burst => burst: u32 = "5000", "How many requests one store may send at once after a quiet time while auth is off. Further requests are answered 429", reload;
        "TILLWATCH_STORE_ROWS_PER_HOUR" store_rows_per_hour => rows_per_hour: usize = "1000000", "How many rows in ClickHouse the batches of one store may make in an hour. A row is one metric in one minute (or hour, of a terminal or session) with one label, release and connection; a store with ten terminals makes about 2,800 an hour, and 470,000 when it brings a week at once. Half of the rows are divided evenly among the store's terminals, and of the other half a terminal gets more only while it has made fewer than are left, so a terminal that is alone makes half. Whoever has made as many as it may is answered 429 for samples older than a quarter of an hour, until the hour is over. If the limit is too small, a store that comes back after days offline waits for hours";
    }
    /// What the doors of foreign formats take for granted.
    doors: Doors {
        "TILLWATCH_DOORS_LEGACY_CONSENT" doors_legacy_consent => legacy_consent: Consent = "required", "Whether a payload of the legacy report must say itself that the person consented (required), or the shop asks for consent elsewhere (assumed). A report says it by \"consent\": true. Without consent nothing of a payload is stored. In the file this may also stand as consent under [doors.legacy]";
        "TILLWATCH_DOORS_LEGACY_STORE" doors_legacy_store => legacy_store: String = none, "The store of payloads of the legacy report that name none and come without a terminal's token. In the file this may also stand as store under [doors.legacy]";
        "TILLWATCH_DOORS_FARO_CONSENT" doors_faro_consent => faro_consent: Consent = "required", "Whether a payload of Grafana Faro's Web SDK must say itself that the person consented (required), or the shop asks for consent elsewhere (assumed). A payload says it by the session attribute consent, \"true\". Without consent nothing of a payload is stored. In the file this may also stand as consent under [doors.faro]";
        "TILLWATCH_DOORS_FARO_STORE" doors_faro_store => faro_store: String = none, "The store of payloads of Grafana Faro's Web SDK that name none and come without a terminal's token. In the file this may also stand as store under [doors.faro]";
        "TILLWATCH_DOORS_OTLP_CONSENT" doors_otlp_consent => otlp_consent: Consent = "required", "Whether a payload of OpenTelemetry's exporters must say itself that the person consented (required), or the shop asks for consent elsewhere (assumed). A payload says it by the resource attribute consent, true. Without consent nothing of a payload is stored. In the file this may also stand as consent under [doors.otlp]";
        "TILLWATCH_DOORS_OTLP_STORE" doors_otlp_store => otlp_store: String = none, "The store of payloads of OpenTelemetry's exporters that name none and come without a terminal's token. In the file this may also stand as store under [doors.otlp]";
        "TILLWATCH_MAP_SETS" map_sets => map_sets: MapSets = "", "Rules that are ready for the names that clients use by themselves, beside those of [[map]]: faro, otel_web, otel_process, written with commas or as an array. docs/own_metrics.md lists them";
        "TILLWATCH_DOORS_FARO_LOGS" doors_faro_logs => are_faro_logs_counted: bool = "false", "Whether Faro's logs are counted as custom events called log. Their texts are never kept";
    }
    /// What is said on standard error.
    log: Log {
        "TILLWATCH_LOG_SLOW_REQUEST" log_slow_request => slow_request: Span = "1s", "How long a request may take before it is logged with the time of each stage. A failed request is always logged", reload;
        "TILLWATCH_LOG_FORMAT" log_format => format: Format = "text", "Whether the log on standard error is written as text or as json";
        "TILLWATCH_LOG_LEVEL" log_level => level: String = "info", "How much is logged: error, warn, info, debug, or a filter as RUST_LOG has it", reload;
    }
}

fn help_of(help: &str, default: &str) -> String {
    if default.is_empty() {
        format!("{help} [default: none]")
    } else {
        format!("{help} [default: {default}]")
    }
}
