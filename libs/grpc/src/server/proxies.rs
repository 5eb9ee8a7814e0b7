//! The address of a client that reaches the server through proxies.
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::HeaderMap;

/// Each proxy appends the address of its client to the right of this header.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The proxies that are believed when they name the address of their client. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<[Network]>);

/// A range of addresses. IPv4 addresses are mapped into IPv6.
#[derive(Debug, Clone, Copy)]
struct Network {
    first: u128,
    bits: u32,
}

impl TrustedProxies {
    /// Parses addresses (`192.0.2.1`) and networks (`10.0.0.0/8`, `fd00::/8`). The error names the first text
    /// that is neither.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Self, String> {
        let parse = |text: &S| {
            let text = text.as_ref().trim();
            Network::parse(text).ok_or_else(|| format!("{text:?} is neither an address nor a network"))
        };
        texts
            .iter()
            .map(parse)
            .collect::<Result<Vec<_>, _>>()
            .map(|all| Self(all.into()))
    }

    fn contains(&self, address: IpAddr) -> bool {
        let bits = to_bits(address);
        self.0.iter().any(|network| network.contains(bits))
    }

    /// Returns the address of the client: that of the connection, or, if the connection is of a trusted
    /// proxy, the last forwarded address that is not of a trusted proxy. Addresses to the left of it are text
    /// of the client. A connection without an address is of a caller in this process, which is trusted.
    pub(crate) fn client(&self, connection: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        if connection.is_some_and(|address| !self.contains(address)) {
            return connection;
        }
        let mut client = connection;
        let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        let texts = values.iter().rev().flat_map(|value| {
            let text = value.to_str().unwrap_or_default();
            text.rsplit(',')
        });
        for text in texts {
            // A malformed address names nobody: the nearest known proxy stands for its client.
            let Some(address) = address(text.trim()) else {
                break;
            };
            client = Some(address);
            if !self.contains(address) {
                break;
            }
        }
        client
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if bits > width {
            return None;
        }
        let bits = 128 - width + bits;
        Some(Self {
            first: to_bits(address) & mask(bits),
            bits,
        })
    }

    fn contains(&self, address: u128) -> bool {
        address & mask(self.bits) == self.first
    }
}

fn mask(bits: u32) -> u128 {
    u128::MAX.checked_shl(128 - bits).unwrap_or_default()
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Parses an address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok();
    address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], connection: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for text in forwarded {
            headers.append(FORWARDED_FOR, text.parse().unwrap());
        }
        let trusted = TrustedProxies::parse(trusted).unwrap();
        let connection = connection.parse().ok();
        trusted
            .client(connection, &headers)
            .map_or_else(String::new, |address| address.to_string())
    }

    #[test]
    fn only_trusted_proxies_set_the_address() {
        let trusted = ["10.0.0.0/8", "192.0.2.1", "fd00::/8"];
        for (connection, forwarded, expected) in [
            // Without a proxy, and with one that is not trusted, the header is text of the client.
            ("198.51.100.7", &["203.0.113.1"] as &[_], "198.51.100.7"),
            ("192.0.2.2", &["203.0.113.1"], "192.0.2.2"),
            ("10.1.2.3", &["203.0.113.1"], "203.0.113.1"),
            ("::ffff:10.1.2.3", &["203.0.113.1"], "203.0.113.1"),
            ("fd12::1", &["2001:db8::5"], "2001:db8::5"),
            // A client cannot put an address before the one that the proxy appends.
            ("10.1.2.3", &["1.1.1.1, 203.0.113.1"], "203.0.113.1"),
            ("10.1.2.3", &["1.1.1.1", "203.0.113.1"], "203.0.113.1"),
            // Two trusted proxies in a row.
            ("10.1.2.3", &["1.1.1.1, 203.0.113.1, 192.0.2.1"], "203.0.113.1"),
            ("10.1.2.3", &["203.0.113.1:4711"], "203.0.113.1"),
            ("10.1.2.3", &["[2001:db8::5]:4711"], "2001:db8::5"),
            ("10.1.2.3", &["unknown"], "10.1.2.3"),
            ("10.1.2.3", &["203.0.113.1, unknown, 10.9.9.9"], "10.9.9.9"),
            ("10.1.2.3", &[], "10.1.2.3"),
        ] {
            assert_eq!(
                client(&trusted, connection, forwarded),
                expected,
                "{connection} {forwarded:?}"
            );
        }
        assert_eq!(
            client(&[], "10.1.2.3", &["203.0.113.1"]),
            "10.1.2.3",
            "no proxy is trusted"
        );
        assert_eq!(client(&["0.0.0.0/0"], "9.9.9.9", &["203.0.113.1"]), "203.0.113.1");
        assert_eq!(client(&[], "in this process", &["203.0.113.1"]), "203.0.113.1");
        assert_eq!(client(&[], "in this process", &[]), "");
    }

    #[test]
    fn malformed_networks_are_refused() {
        for text in [
            "",
            "example.org",
            "10.0.0.0/33",
            "10.0.0.0/x",
            "fd00::/129",
            "10.0.0.0/8/8",
        ] {
            let problem = TrustedProxies::parse(&[text]).unwrap_err();
            assert!(problem.contains(text), "{problem}");
        }
    }
}
