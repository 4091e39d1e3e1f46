//! What can be said of `docker-compose.yml` without running it: images are pinned, nobody is root, everything that
//! is mounted exists, secrets come from outside, and nothing but ingest and Grafana can be reached.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    volumes: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Service {
    image: String,
    build: Option<Value>,
    user: Option<String>,
    restart: String,
    healthcheck: Option<Value>,
    #[serde(default)]
    depends_on: BTreeMap<String, Value>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    command: Vec<String>,
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn compose() -> Compose {
    serde_saphyr::from_str(&read("docker-compose.yml")).unwrap()
}

#[test]
fn every_service_is_pinned_watched_and_nobody_is_root() {
    for (name, service) in compose().services {
        let (_, tag) = service.image.rsplit_once(':').unwrap_or_default();
        assert!(
            tag.trim_start_matches('v')
                .starts_with(|first: char| first.is_ascii_digit()),
            "{name}: {} names no version",
            service.image
        );
        if service.restart == "no" {
            // It makes a key and ends; whoever needs the key waits for that.
            assert_eq!(
                service.command.first().map(String::as_str),
                Some("key"),
                "{name}"
            );
            continue;
        }
        assert_eq!(service.restart, "unless-stopped", "{name}");
        // Of the image that is built here both stand in the Dockerfile.
        let (user, is_watched) = if service.build.is_some() {
            let dockerfile = read("Dockerfile");
            let user = dockerfile
                .lines()
                .find_map(|line| line.strip_prefix("USER "));
            (
                user.map(str::to_owned),
                dockerfile.contains("\nHEALTHCHECK "),
            )
        } else {
            (service.user.clone(), service.healthcheck.is_some())
        };
        let user = user.unwrap_or_default();
        assert!(
            !user.is_empty() && !user.starts_with('0') && user != "root",
            "{name}: user {user:?}"
        );
        assert!(is_watched, "{name} has no health check");
    }
}

#[test]
fn what_is_mounted_or_waited_for_exists() {
    let compose = compose();
    for (name, service) in &compose.services {
        for other in service.depends_on.keys() {
            assert!(
                compose.services.contains_key(other),
                "{name} waits for {other}"
            );
        }
        for volume in &service.volumes {
            let parts: Vec<&str> = volume.split(':').collect();
            let (from, is_read_only) = (parts[0], parts.get(2) == Some(&"ro"));
            if from.starts_with('.') {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(from);
                assert!(path.exists(), "{name} mounts {from}");
                assert!(is_read_only, "{name} could write {from}");
            } else {
                assert!(
                    compose.volumes.contains_key(from),
                    "{name} mounts the volume {from}"
                );
            }
        }
    }
    // What Prometheus and Grafana ask for are services.
    for (file, key) in [
        ("alerts/prometheus.yml", "targets: [\""),
        ("docker-compose.yml", "_URL: http://"),
    ] {
        for line in read(file)
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
        {
            let Some((_, rest)) = line.split_once(key) else {
                continue;
            };
            let host = rest.split(':').next().unwrap();
            assert!(
                host == "localhost" || compose.services.contains_key(host),
                "{file}: {line}"
            );
        }
    }
    // Who scrapes by a name must be let in by it.
    let admin_hosts = &compose.services["tillwatch"].environment["TILLWATCH_ADMIN_HOSTS"];
    for line in read("alerts/prometheus.yml").lines() {
        if let Some((_, rest)) = line.split_once("targets: [\"")
            && let Some(host) = rest.strip_suffix(":9090\"]")
            && host.starts_with("tillwatch")
        {
            assert_eq!(host, admin_hosts);
        }
    }
    let retention = &compose.services["prometheus"].command;
    assert!(
        retention
            .iter()
            .any(|flag| flag == "--storage.tsdb.retention.time=30d")
    );
}

#[test]
fn only_ingest_and_grafana_can_be_reached_and_no_secret_is_written_down() {
    let mut published = Vec::new();
    for (name, service) in compose().services {
        for port in &service.ports {
            assert!(
                port.starts_with("127.0.0.1:"),
                "{name} publishes {port} to everybody"
            );
            published.push(format!("{name} {}", port.rsplit(':').next().unwrap()));
        }
        for (key, value) in &service.environment {
            if key.contains("PASSWORD") {
                assert!(
                    value.starts_with("${") && value.contains(":?"),
                    "{name}: {key} is written down"
                );
            }
        }
    }
    assert_eq!(published, ["grafana 3000", "tillwatch 8080"]);
}
