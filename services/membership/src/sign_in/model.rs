//! The numbers of sign-in, as pure code.
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
