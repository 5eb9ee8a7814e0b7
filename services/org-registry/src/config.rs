//! Configuration of the service.

use parta_runtime::ServiceConfig;
use serde::Deserialize;

/// Section `[org_registry]`. It has no keys besides those of every service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {}

impl ServiceConfig for Config {
    fn validate(&self, _problems: &mut Vec<String>) {}
}
