//! Configuration of the service.

use parta_runtime::ServiceConfig;
use serde::Deserialize;

/// The most applications per hour that a limit can allow.
const APPLICATIONS_MAX: u32 = 3_600_000;

/// Section `[org_registry]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The number of applications that one network may submit per hour.
    pub(crate) applications_per_hour_of_network: u32,
    /// The number of applications that the installation accepts per hour.
    pub(crate) applications_per_hour: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            applications_per_hour_of_network: 20,
            applications_per_hour: 200,
        }
    }
}

impl ServiceConfig for Config {
    fn validate(&self, problems: &mut Vec<String>) {
        for (key, count) in [
            (
                "applications_per_hour_of_network",
                self.applications_per_hour_of_network,
            ),
            ("applications_per_hour", self.applications_per_hour),
        ] {
            if !(1..=APPLICATIONS_MAX).contains(&count) {
                problems.push(format!("{key} must lie between 1 and {APPLICATIONS_MAX}"));
            }
        }
    }
}
