//! Configuration of the service.

use parta_runtime::ServiceConfig;
use serde::Deserialize;

/// Section `[org_registry]`: nothing of its own yet besides what every service has.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}

impl ServiceConfig for Config {
    fn validate(&self, _problems: &mut Vec<String>) {}
}
