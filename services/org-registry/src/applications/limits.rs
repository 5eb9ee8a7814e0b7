//! The limits of applications: anybody may submit one, and each stores a document of up to 20 MiB.
use parta_limits::{Bucket, Limit, Limiter, Subject};
use parta_status::RpcError;

use crate::{config::Config, context::Run};

/// The limits in the order in which their rows are locked. The row that all applications share is the last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ApplicationLimits([(Limit, Subject<'static>); 2]);

impl ApplicationLimits {
    /// Returns the limits of a configuration. Half of an hour's applications of a network may be submitted at
    /// once, and a quarter of those of the installation.
    pub(crate) fn new(config: &Config) -> Self {
        let of_network = Limit {
            name: "applications_of_network",
            bucket: Bucket::per_hour(config.applications_per_hour_of_network, 2),
        };
        let of_installation = Limit {
            name: "applications_of_installation",
            bucket: Bucket::per_hour(config.applications_per_hour, 4),
        };
        Self([
            (of_network, Subject::Network),
            (of_installation, Subject::Installation),
        ])
    }
}

/// Refuses a caller who may not submit an application now.
pub(super) async fn require(run: Run<'_>) -> Result<(), RpcError> {
    let limiter = Limiter::new(run.tx, run.caller);
    for (limit, subject) in run.context.limits.0 {
        limiter.require(limit, subject).await?;
    }
    Ok(())
}

/// Counts an application, or refuses it.
pub(super) async fn take(run: Run<'_>) -> Result<(), RpcError> {
    let limiter = Limiter::new(run.tx, run.caller);
    for (limit, subject) in run.context.limits.0 {
        limiter.take(limit, subject).await?;
    }
    Ok(())
}
