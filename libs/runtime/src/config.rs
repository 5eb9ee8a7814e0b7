//! Configuration in layers: code defaults, `config/default.toml`, a profile, the environment, the command
//! line. An unknown key is an error that contains its name.
mod layers;
mod report;
mod section;
mod settings;

pub use layers::{ConfigArgs, ConfigError, Sources};
pub use report::Report;
pub use section::{NoKeys, Section, ServiceConfig, check};
pub use settings::{
    BusSettings, DataSettings, DatabaseSettings, KeySettings, LogFormat, LogSettings, ServerSettings,
    ServiceSettings, Settings, TelemetrySettings,
};
