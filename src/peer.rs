//! Finds out from which address a request comes, also behind proxies, and says which addresses are one client.
//!
//! Whoever is believed about an address must be listed: a header that a client wrote itself would let it have as many
//! addresses as it likes. So the hops are read from the end, where the nearest proxy has written, and the first that is
//! no listed proxy is the client. Addresses are neither kept nor logged.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::HeaderMap;
use axum::http::header::FORWARDED;
use ipnet::IpNet;

/// The address of the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// How many hops are looked at. A request that claims more came through no network of ours.
const HOPS_MAX: usize = 32;

/// Whom to believe, and whom not to count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    /// Proxies, which are believed about who is behind them.
    pub trusted_proxies: Vec<IpNet>,
    /// Clients whose requests are not counted by address.
    pub exempt: Vec<IpNet>,
}

fn holds(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// An IPv4 address as what it is, however it is written.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

impl Networks {
    /// The address that a request is counted under; `None`: it is not counted.
    ///
    /// Behind a proxy it is the last address in `Forwarded` (RFC 7239) or `X-Forwarded-For` that is no listed proxy. If
    /// both are there and name different ones, or what stands there is no address, the request counts as the proxy's: at
    /// least one of them was not written by it.
    #[must_use]
    pub fn counted(&self, peer: Peer, headers: &HeaderMap) -> Option<IpAddr> {
        let peer = plain(peer.0);
        if !holds(&self.trusted_proxies, peer) {
            return (!holds(&self.exempt, peer)).then(|| group(peer));
        }
        match self.behind(headers) {
            Behind::Nobody if holds(&self.exempt, peer) => None,
            Behind::Client(client) if holds(&self.exempt, client) => None,
            Behind::Client(client) => Some(group(client)),
            // Whoever writes nonsense must not become exempt by it.
            Behind::Nobody | Behind::Unclear => Some(group(peer)),
        }
    }

    fn behind(&self, headers: &HeaderMap) -> Behind {
        let last = |name: &str, hop: fn(&str) -> Option<IpAddr>| {
            let lines = headers.get_all(name).iter().rev();
            let texts = lines.map(|line| line.to_str().unwrap_or("?"));
            let mut hops = texts
                .flat_map(|text| text.rsplit(','))
                .take(HOPS_MAX)
                .map(|text| hop(text.trim()).map(plain));
            let mut nearest = Behind::Nobody;
            loop {
                match hops.next() {
                    // All of them are proxies: the first is whom the last one heard.
                    None => return nearest,
                    Some(None) => return Behind::Unclear,
                    Some(Some(address)) if holds(&self.trusted_proxies, address) => {
                        nearest = Behind::Client(address);
                    }
                    Some(Some(address)) => return Behind::Client(address),
                }
            }
        };
        let forwarded = last(FORWARDED.as_str(), forwarded_for);
        let listed = last("x-forwarded-for", address_of);
        match (forwarded, listed) {
            (Behind::Nobody, one) | (one, Behind::Nobody) => one,
            (one, other) if one == other => one,
            _ => Behind::Unclear,
        }
    }
}

/// Who is behind a proxy, as its headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// The proxy asks for itself.
    Nobody,
    Client(IpAddr),
    /// The headers contradict each other, or name no address.
    Unclear,
}

/// Addresses that one client can take in turn: those of one /64 of IPv6.
fn group(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let network = u128::from(v6) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

/// An address with or without a port; IPv6 in brackets, if with a port.
fn address_of(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, _port) = rest.split_once(']')?;
        return address.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let (address, _port) = text.rsplit_once(':')?;
    address.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

/// The `for` of one hop of `Forwarded`. An obfuscated one is no address.
fn forwarded_for(hop: &str) -> Option<IpAddr> {
    let mut pairs = hop.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address_of(value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks() -> Networks {
        Networks {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            exempt: vec!["192.0.2.0/24".parse().unwrap()],
        }
    }

    fn counted(peer: &str, lines: &[(&'static str, &str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let counted = networks().counted(Peer(peer.parse().unwrap()), &headers);
        counted.map(|address| address.to_string())
    }

    const XFF: &str = "x-forwarded-for";

    #[test]
    fn the_last_hop_that_is_no_listed_proxy_is_the_client() {
        for (peer, lines, expected) in [
            ("203.0.113.9", vec![(XFF, "198.51.100.1")], "203.0.113.9"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec![(XFF, "198.51.100.1")], "198.51.100.1"),
            (
                "::ffff:10.0.0.1",
                vec![(XFF, "198.51.100.1")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                vec![(XFF, "1.1.1.1, 198.51.100.1 , 10.0.0.2")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                vec![(XFF, "1.1.1.1"), (XFF, "198.51.100.1:443")],
                "198.51.100.1",
            ),
            ("10.0.0.1", vec![(XFF, "10.0.0.3,10.0.0.2")], "10.0.0.3"),
            ("10.0.0.1", vec![(XFF, "1.1.1.1, unknown")], "10.0.0.1"),
            ("10.0.0.1", vec![(XFF, "")], "10.0.0.1"),
            ("::1", vec![(XFF, "2001:db8:1:2:3:4:5:6")], "2001:db8:1:2::"),
            (
                "::1",
                vec![(
                    "forwarded",
                    "for=1.1.1.1, For=\"[2001:db8::7]:99\";proto=https",
                )],
                "2001:db8::",
            ),
            ("::1", vec![("forwarded", "for=_hidden")], "::"),
            (
                "::1",
                vec![("forwarded", "for=1.1.1.1"), (XFF, "1.1.1.1")],
                "1.1.1.1",
            ),
            (
                "10.0.0.1",
                vec![("forwarded", "for=1.1.1.1"), (XFF, "198.51.100.1")],
                "10.0.0.1",
            ),
        ] {
            assert_eq!(
                counted(peer, &lines).as_deref(),
                Some(expected),
                "{peer} {lines:?}"
            );
        }
    }

    #[test]
    fn whoever_is_exempt_is_not_counted_and_nobody_makes_himself_so() {
        assert_eq!(counted("192.0.2.7", &[]), None);
        assert_eq!(counted("10.0.0.1", &[(XFF, "192.0.2.7")]), None);
        assert!(counted("203.0.113.9", &[(XFF, "192.0.2.7")]).is_some());
        assert!(counted("10.0.0.1", &[(XFF, "192.0.2.7, 203.0.113.9")]).is_some());
    }

    #[test]
    fn nonsense_before_an_exempt_proxy_makes_nobody_exempt() {
        let networks = Networks {
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
            exempt: vec!["127.0.0.0/8".parse().unwrap()],
        };
        let of = |lines: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().unwrap());
            }
            networks
                .counted(Peer("127.0.0.1".parse().unwrap()), &headers)
                .is_some()
        };
        assert!(!of(&[]), "what runs on this machine");
        assert!(of(&[(XFF, "203.0.113.9")]));
        assert!(of(&[(XFF, "203.0.113.9"), ("forwarded", "for=unknown")]));
        assert!(of(&[(XFF, "rubbish")]));
    }

    #[test]
    fn a_long_list_of_proxies_is_not_read_to_its_end() {
        let hops = vec!["10.0.0.2"; 1_000].join(",");
        let text = format!("198.51.100.1,{hops}");
        assert_eq!(
            counted("10.0.0.1", &[(XFF, &text)]).as_deref(),
            Some("10.0.0.2")
        );
    }
}
