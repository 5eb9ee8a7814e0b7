use std::time::Duration;

/// Limits of the jobs of one kind in one process. A kind at its limit does not delay other kinds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The number of jobs that run at a time.
    pub concurrent: usize,
    /// The number of jobs of one organization that run at a time. Jobs without an organization are limited by
    /// `concurrent` only.
    pub per_organization: usize,
    /// The longest run of one attempt, which then counts as failed. Without it, an attempt runs as long as it
    /// needs, for example in an import of thousands of rows.
    pub attempt_timeout: Option<Duration>,
    /// The longest wait between two attempts. The wait begins with two seconds and doubles up to this one.
    pub max_retry_delay: Duration,
}

impl Limits {
    /// The longest wait between two attempts of a kind that has no reason for another one.
    pub const RETRY_DELAY: Duration = Duration::from_hours(1);
}

impl Default for Limits {
    /// Limits of jobs that make a few calls or statements.
    fn default() -> Self {
        Self {
            concurrent: 8,
            per_organization: 2,
            attempt_timeout: Some(Duration::from_secs(60)),
            max_retry_delay: Self::RETRY_DELAY,
        }
    }
}
