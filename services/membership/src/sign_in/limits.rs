//! The limits of sign-in, by the limiter of all services.
use chrono::TimeDelta;
use parta_limits::{Bucket, Subject};

use super::model::{Budgets, RESEND};

/// A limit of sign-in. No limit counts only by the address, because anybody could exhaust it and lock
/// the owner out. A network is an IPv4 address or an IPv6 /64 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Limit {
    /// All codes that one network requests.
    CodesOfNetwork,
    /// The pause between two codes that one network requests for one address.
    Resend,
    /// Codes that one network requests for one address: a family on one phone needs several at once.
    CodesToAddress,
    /// All codes of the installation, because each costs money.
    CodesOfInstallation,
    /// Wrong codes from one network.
    WrongCodesOfNetwork,
    /// Wrong codes from one network for one address.
    WrongCodesToAddress,
}

impl Limit {
    /// The limits of a request for a code, in the order in which their rows are locked. The row that all
    /// requests share is the last.
    pub(super) const OF_REQUEST: [Self; 4] = [
        Self::CodesOfNetwork,
        Self::Resend,
        Self::CodesToAddress,
        Self::CodesOfInstallation,
    ];

    /// The name in refusals, metrics and the documentation.
    fn name(self) -> &'static str {
        match self {
            Self::CodesOfNetwork => "codes_of_network",
            Self::Resend => "resend",
            Self::CodesToAddress => "codes_to_address",
            Self::CodesOfInstallation => "codes_of_installation",
            Self::WrongCodesOfNetwork => "wrong_codes_of_network",
            Self::WrongCodesToAddress => "wrong_codes_to_address",
        }
    }

    /// The callers whom the limit counts together, if they use this address.
    pub(super) fn subject(self, address: &str) -> Subject<'_> {
        match self {
            Self::CodesOfInstallation => Subject::Installation,
            Self::CodesOfNetwork | Self::WrongCodesOfNetwork => Subject::Network,
            Self::Resend | Self::CodesToAddress | Self::WrongCodesToAddress => {
                Subject::NetworkAndAddress(address)
            }
        }
    }

    /// The limit with its tokens.
    pub(super) fn with(self, budgets: Budgets) -> parta_limits::Limit {
        let every = |burst, interval| Bucket { burst, interval };
        let bucket = match self {
            // By default 30 at once: a class signs in.
            Self::CodesOfNetwork => Bucket::per_hour(budgets.network_per_hour, 20),
            Self::Resend => every(1, RESEND),
            Self::CodesToAddress => every(20, TimeDelta::minutes(30)),
            Self::CodesOfInstallation => Bucket::per_hour(budgets.installation_per_hour, 4),
            Self::WrongCodesOfNetwork => Bucket::per_hour(100, 1),
            Self::WrongCodesToAddress => every(10, TimeDelta::minutes(30)),
        };
        parta_limits::Limit {
            name: self.name(),
            bucket,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Limit; 6] = [
        Limit::CodesOfNetwork,
        Limit::Resend,
        Limit::CodesToAddress,
        Limit::CodesOfInstallation,
        Limit::WrongCodesOfNetwork,
        Limit::WrongCodesToAddress,
    ];

    #[test]
    fn limits_have_names_of_their_own() {
        for (n, limit) in ALL.iter().enumerate() {
            for other in &ALL[n + 1..] {
                assert!(limit.name() != other.name());
            }
        }
    }
}
