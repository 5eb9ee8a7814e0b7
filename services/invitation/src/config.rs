//! Configuration of the service.
use parta_runtime::ServiceConfig;
use serde::Deserialize;

/// Section `[invitation]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Address of the page that accepts a link, for example `https://school.example/join`; the token is added
    /// after `#`. If it is empty, responses contain the token and the code only.
    pub(crate) link_base_url: String,
}

impl ServiceConfig for Config {
    fn validate(&self, problems: &mut Vec<String>) {
        let url = self.link_base_url.as_str();
        let web = url.starts_with("https://")
            || url.starts_with("http://127.0.0.1")
            || url.starts_with("http://localhost");
        if !url.is_empty() && (!web || url.contains('#') || url.chars().any(char::is_whitespace)) {
            problems.push("link_base_url must be an https address without `#`, or empty".to_owned());
        }
    }
}
