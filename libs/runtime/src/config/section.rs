//! The configuration section of one service.
use config::{Map, Value, ValueKind};
use serde::de::DeserializeOwned;

/// Typed configuration of a service: `#[derive(Deserialize)] #[serde(deny_unknown_fields, default)]`, so that
/// every key has a default in code and an unknown key is an error that contains its name.
pub trait ServiceConfig: DeserializeOwned + Send + 'static {
    /// Adds one sentence for each invalid key: `problems.push("delivery must be outbox or smtp".into())`.
    fn validate(&self, problems: &mut Vec<String>);
}

/// Configuration of a service without its own keys.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoKeys {}

impl ServiceConfig for NoKeys {
    fn validate(&self, _problems: &mut Vec<String>) {}
}

/// The keys of a section that only the service reads.
#[derive(Debug, Clone, Default)]
pub struct Section {
    pub(crate) name: String,
    pub(crate) keys: Map<String, Value>,
    /// Whether only the names and types of the keys are checked, and not the values.
    pub(crate) skips_validation: bool,
}

impl Section {
    /// Returns a section for tests, from its name and its keys as TOML.
    pub fn from_toml(name: &str, text: &str) -> anyhow::Result<Self> {
        let file = config::File::from_str(text, config::FileFormat::Toml);
        let keys = config::Config::builder()
            .add_source(file)
            .build()?
            .try_deserialize()?;
        Ok(Self {
            name: name.to_owned(),
            keys,
            skips_validation: false,
        })
    }

    fn read<T: ServiceConfig>(&self) -> Result<T, Vec<String>> {
        let named = |problem: String| format!("{}: {problem}", self.name);
        let parsed: T = Value::new(None, ValueKind::Table(self.keys.clone()))
            .try_deserialize()
            .map_err(|error| vec![named(error.to_string())])?;
        let mut problems = Vec::new();
        if !self.skips_validation {
            parsed.validate(&mut problems);
        }
        if problems.is_empty() {
            Ok(parsed)
        } else {
            Err(problems.into_iter().map(named).collect())
        }
    }

    /// Parses and validates the section.
    pub fn parse<T: ServiceConfig>(&self) -> anyhow::Result<T> {
        self.read()
            .map_err(|problems| anyhow::anyhow!(problems.join("; ")))
    }
}

/// Returns the problems of a section parsed as `T`, for [`crate::Service::config`].
pub fn check<T: ServiceConfig>(section: &Section) -> Vec<String> {
    section.read::<T>().err().unwrap_or_default()
}
