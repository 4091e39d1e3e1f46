//! Whatever strangers show: tokens, key sets, headers about addresses. Nothing of it may bring the program down.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tillwatch::peer::{Networks, Peer};
use tillwatch_token::{KeySet, jwks};

const SET: &str = include_str!("../../crates/token/fixtures/jwks.json");

fuzz_target!(|data: &[u8]| {
    let mut keys = KeySet::default();
    for (kid, key) in jwks::read(SET.as_bytes()).expect("it is a set").keys {
        keys.insert_foreign(kid, key);
    }
    // A key set that holds strangers' keys verifies strangers' tokens.
    if let Ok(set) = jwks::read(data) {
        for (kid, key) in set.keys {
            keys.insert_foreign(kid, key);
        }
    }
    let text = String::from_utf8_lossy(data);
    for token in text.split_whitespace() {
        assert!(keys.verify(token).is_err(), "nobody has signed it");
    }
    let networks = Networks {
        trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
        exempt: Vec::new(),
    };
    let mut headers = HeaderMap::new();
    for (name, line) in ["x-forwarded-for", "forwarded"].into_iter().zip(data.split(|byte| *byte == 0)) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    let peer = Peer(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    assert!(networks.counted(peer, &headers).is_some());
});
