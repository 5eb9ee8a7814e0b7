//! The addresses outside of the cluster that policies name.
use std::net::IpAddr;

use serde_json::Value;

use super::text;
use crate::k8s::{
    facts::Facts,
    manifests::{Manifests, items, name},
};

/// The networks that are not public. Some clusters have pods or servers of metadata in the reserved ones. In
/// IPv6, those by which translators reach IPv4 addresses are among them: NAT64 (RFC 6052, RFC 8215), 6to4 and
/// Teredo.
const PRIVATE: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/96",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// The addresses of a network, from the first to the last one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Network {
    is_ipv6: bool,
    first: u128,
    last: u128,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let (is_ipv6, bits, address) = match address.parse().ok()? {
            IpAddr::V4(address) => (false, 32, u128::from(address.to_bits())),
            IpAddr::V6(address) => (true, 128, address.to_bits()),
        };
        let length: u32 = length.parse().ok().filter(|length| *length <= bits)?;
        let host = 1_u128
            .checked_shl(bits - length)
            .map_or(u128::MAX, |above| above - 1);
        Some(Self {
            is_ipv6,
            first: address & !host,
            last: address | host,
        })
    }

    fn contains(self, other: Self) -> bool {
        self.is_ipv6 == other.is_ipv6 && self.first <= other.first && other.last <= self.last
    }

    /// Networks contain each other or have no address in common.
    fn intersection(self, other: Self) -> Option<Self> {
        match (self.contains(other), other.contains(self)) {
            (true, _) => Some(other),
            (_, true) => Some(self),
            _ => None,
        }
    }
}

/// The networks among the peers of a policy.
fn blocks<'a>(policy: &'a Value, direction: &str, peers: &str) -> Vec<&'a Value> {
    items(&policy["spec"][direction])
        .flat_map(|rule| items(&rule[peers]))
        .map(|peer| &peer["ipBlock"])
        .filter(|block| block.is_object())
        .collect()
}

/// No policy lets a private address out. A network that is private as a whole would be found too: none is
/// rendered here.
pub(super) fn private(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    for policy in manifests.of("NetworkPolicy") {
        for block in blocks(policy, "egress", "to") {
            let open = open_networks(block);
            found.extend(
                open.iter()
                    .map(|private| format!("{} lets {private} out", name(policy))),
            );
        }
    }
    found
}

/// The private networks of which a block reaches an address.
fn open_networks(block: &Value) -> Vec<&'static str> {
    let Some(network) = Network::parse(text(&block["cidr"])) else {
        return PRIVATE.to_vec();
    };
    let except: Vec<Network> = items(&block["except"])
        .filter_map(|except| Network::parse(text(except)))
        .collect();
    let is_open = |private: &&&str| {
        let reached = Network::parse(private).and_then(|private| network.intersection(private));
        reached.is_some_and(|reached| !except.iter().any(|except| except.contains(reached)))
    };
    PRIVATE.iter().filter(is_open).copied().collect()
}

/// The API server refuses an exception that is no part of the network, or all of it. IPv4 addresses in the
/// form of IPv6 (`::ffff:0:0/96`) are IPv4 addresses for it, and no part of a network of IPv6.
pub(super) fn exceptions(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let mapped = Network::parse("::ffff:0:0/96");
    let is_part = |network: &Value, except: &Value| {
        let network = Network::parse(text(network))?;
        let except = Network::parse(text(except))?;
        Some(network.contains(except) && network != except && !mapped?.contains(except))
    };
    let mut found = Vec::new();
    for policy in manifests.of("NetworkPolicy") {
        let (ingress, egress) = (blocks(policy, "ingress", "from"), blocks(policy, "egress", "to"));
        for block in ingress.into_iter().chain(egress) {
            let cidr = &block["cidr"];
            let wrong = items(&block["except"]).filter(|except| is_part(cidr, except) != Some(true));
            found.extend(wrong.map(|except| format!("{} excepts {except} from {cidr}", name(policy))));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn private_networks_within_a_block_are_found() {
        let open = |cidr: &str, except: &[&str]| open_networks(&json!({"cidr": cidr, "except": except}));
        assert_eq!(open("2000::/3", &["2001::/16", "2002::/16"]), ["3fff::/20"]);
        // A part of a private network, and an exception of a part only.
        assert_eq!(open("64:ff9b::a00:0/104", &[]), ["64:ff9b::/96"]);
        assert_eq!(open("64:ff9b::/96", &["64:ff9b::a00:0/104"]), ["64:ff9b::/96"]);
        assert_eq!(open("64:ff9b::/96", &["64:ff9b::/64"]), [""; 0]);
        assert_eq!(open("203.0.113.7/32", &[]), [""; 0]);
        assert_eq!(open("169.254.169.254/32", &[]), ["169.254.0.0/16"]);
        assert_eq!(open("everywhere", &[]).len(), PRIVATE.len());
        let all = open("::/0", &[]);
        assert!(
            all.contains(&"64:ff9b:1::/48") && all.contains(&"fc00::/7"),
            "{all:?}"
        );
        for network in PRIVATE {
            assert!(Network::parse(network).is_some(), "{network}");
        }
        for wrong in ["10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0/8"] {
            assert!(Network::parse(wrong).is_none(), "{wrong}");
        }
    }
}
