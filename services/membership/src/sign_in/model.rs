//! Limits of sign-in, as pure code.
use chrono::TimeDelta;

/// The number of attempts that one code has.
pub(super) const ATTEMPTS_MAX: i32 = 5;
/// The number of wrong codes in a row after which an address takes no code until the lock is lifted
/// (NIST SP 800-63B, 3.2.2).
pub(super) const FAILURES_MAX: i32 = 100;
/// The time for which a code is valid.
pub(super) const CODE_LIFE: TimeDelta = TimeDelta::minutes(5);
/// The time for which a proved address may be used to start a session.
pub(super) const PROOF_LIFE: TimeDelta = TimeDelta::minutes(10);
/// The time for which a flow is kept after its code has expired.
pub(crate) const FLOW_RETENTION: TimeDelta = TimeDelta::days(1);
/// The time for which wrong codes in a row are counted after the latest one, so that waiting gives no
/// further attempts.
pub(super) const FAILURES_RETENTION: TimeDelta = TimeDelta::days(365);
/// The shortest time between two codes of one network to one address.
pub(super) const RESEND: TimeDelta = TimeDelta::seconds(60);

/// The codes that an installation sends, in numbers that its operator chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budgets {
    /// Codes that one network may request per hour.
    pub(crate) network_per_hour: u32,
    /// Codes that the installation sends per hour.
    pub(crate) installation_per_hour: u32,
}

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

/// The callers whom a limit counts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Installation,
    Network,
    NetworkAndAddress,
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
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CodesOfNetwork => "codes_of_network",
            Self::Resend => "resend",
            Self::CodesToAddress => "codes_to_address",
            Self::CodesOfInstallation => "codes_of_installation",
            Self::WrongCodesOfNetwork => "wrong_codes_of_network",
            Self::WrongCodesToAddress => "wrong_codes_to_address",
        }
    }

    /// The number that is stored.
    pub(super) fn number(self) -> i32 {
        match self {
            Self::CodesOfNetwork => 1,
            Self::Resend => 2,
            Self::CodesToAddress => 3,
            Self::CodesOfInstallation => 4,
            Self::WrongCodesOfNetwork => 5,
            Self::WrongCodesToAddress => 6,
        }
    }

    pub(super) fn scope(self) -> Scope {
        match self {
            Self::CodesOfInstallation => Scope::Installation,
            Self::CodesOfNetwork | Self::WrongCodesOfNetwork => Scope::Network,
            Self::Resend | Self::CodesToAddress | Self::WrongCodesToAddress => Scope::NetworkAndAddress,
        }
    }

    pub(super) fn bucket(self, budgets: Budgets) -> Bucket {
        let per_hour = |count: u32| 3_600_000 / i64::from(count.max(1));
        let minutes = |count: i64| count * 60_000;
        let (burst, interval_millis) = match self {
            // A twentieth of an hour's codes may be requested at once, by default 30: a class signs in.
            Self::CodesOfNetwork => (
                i64::from(budgets.network_per_hour / 20).max(1),
                per_hour(budgets.network_per_hour),
            ),
            Self::Resend => (1, RESEND.num_milliseconds()),
            Self::CodesToAddress => (20, minutes(30)),
            // A quarter of an hour's codes may be sent at once.
            Self::CodesOfInstallation => (
                i64::from(budgets.installation_per_hour / 4).max(1),
                per_hour(budgets.installation_per_hour),
            ),
            Self::WrongCodesOfNetwork => (100, per_hour(100)),
            Self::WrongCodesToAddress => (10, minutes(30)),
        };
        Bucket {
            burst,
            interval_millis,
        }
    }
}

/// A bucket of `burst` tokens, which gets one token back in each interval. Its state is one time: when it
/// will be full again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) burst: i64,
    pub(super) interval_millis: i64,
}

impl Bucket {
    /// The latest time of being full with which a token can still be taken now.
    pub(super) fn latest_full_millis(self, now_millis: i64) -> i64 {
        now_millis + (self.burst - 1) * self.interval_millis
    }

    /// Returns the time until there is a token. Not positive if there is one.
    pub(super) fn wait(self, full_millis: i64, now_millis: i64) -> TimeDelta {
        TimeDelta::milliseconds(full_millis - self.latest_full_millis(now_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGETS: Budgets = Budgets {
        network_per_hour: 600,
        installation_per_hour: 10_000,
    };
    const ALL: [Limit; 6] = [
        Limit::CodesOfNetwork,
        Limit::Resend,
        Limit::CodesToAddress,
        Limit::CodesOfInstallation,
        Limit::WrongCodesOfNetwork,
        Limit::WrongCodesToAddress,
    ];

    /// Takes a token as the statement of storage does.
    fn take(bucket: Bucket, full: &mut i64, now: i64) -> bool {
        let taken = *full <= bucket.latest_full_millis(now);
        if taken {
            *full = (*full).max(now) + bucket.interval_millis;
        }
        taken
    }

    #[test]
    fn bucket_gives_its_burst_and_then_one_per_interval() {
        for limit in ALL {
            let bucket = limit.bucket(BUDGETS);
            let (mut full, mut now) = (0, 1_800_000_000_000);
            let taken = (0..=bucket.burst)
                .filter(|_| take(bucket, &mut full, now))
                .count();
            assert_eq!(i64::try_from(taken), Ok(bucket.burst), "{limit:?}");
            let wait = bucket.wait(full, now);
            assert_eq!(wait.num_milliseconds(), bucket.interval_millis, "{limit:?}");
            now += bucket.interval_millis - 1;
            assert!(!take(bucket, &mut full, now), "{limit:?}");
            now += 1;
            assert!(
                take(bucket, &mut full, now) && !take(bucket, &mut full, now),
                "{limit:?}"
            );
            now += bucket.burst * bucket.interval_millis;
            assert!(full <= now, "full again after the whole time: {limit:?}");
        }
    }

    #[test]
    fn limits_have_names_and_numbers_of_their_own() {
        for (n, limit) in ALL.iter().enumerate() {
            for other in &ALL[n + 1..] {
                assert!(limit.number() != other.number() && limit.name() != other.name());
            }
        }
    }
}
