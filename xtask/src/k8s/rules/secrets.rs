//! Secrets are in Secrets only. Everybody who may read the objects of a namespace reads a ConfigMap.
use super::text;
use crate::k8s::{
    facts::Facts,
    manifests::{Manifests, containers, items, name},
};

/// Words in the keys of settings that are secrets. The log of the start masks the same keys.
const WORDS: [&str; 7] = [
    "secret",
    "password",
    "token",
    "key",
    "credential",
    "pepper",
    "seed",
];
/// Words in the settings of other programs that only a secret follows.
const WORDS_OF_OTHERS: [&str; 6] = ["password", "secret", "token", "authorization", "bearer", "seed"];
/// Headers that may have a value of their own.
const HARMLESS_HEADERS: [&str; 6] = [
    "accept",
    "accept-charset",
    "accept-language",
    "content-language",
    "content-type",
    "user-agent",
];

/// Whether the name of a setting, `section.key`, says that it is a secret. The path of a file is none.
pub(crate) fn is_secret(setting: &str) -> bool {
    let key = setting.rsplit('.').next().unwrap_or(setting);
    !key.ends_with("_file") && WORDS.iter().any(|word| key.contains(word))
}

pub(super) fn rendered(manifests: &Manifests, _: &Facts) -> Vec<String> {
    manifests.of("Secret").map(name).collect()
}

/// Neither a ConfigMap nor a value in a pod is a secret.
pub(super) fn settings(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    for map in manifests.of("ConfigMap") {
        for (key, value) in map["data"].as_object().into_iter().flatten() {
            found.extend(fault(key, text(value)).map(|fault| format!("{}: {key} {fault}", name(map))));
        }
    }
    for workload in manifests.workloads() {
        for variable in containers(workload).flat_map(|container| items(&container["env"])) {
            let key = text(&variable["name"]);
            let fault = fault(key, text(&variable["value"]));
            found.extend(fault.map(|fault| format!("{}: {key} {fault}", name(workload))));
        }
    }
    found
}

/// Returns the place of a secret in a setting. An empty value is that of a reference to a Secret.
fn fault(variable: &str, value: &str) -> Option<String> {
    if value.is_empty() {
        return None;
    }
    let address = value.split_once("://").map(|(_, rest)| rest);
    let address = address.and_then(|rest| rest.split(['/', '?', '#']).next());
    if address.is_some_and(|address| address.contains('@')) {
        return Some("has credentials in a URL".to_owned());
    }
    let Some(setting) = variable.strip_prefix("PARTA__") else {
        let lower = value.to_lowercase();
        let word = WORDS_OF_OTHERS.iter().find(|word| lower.contains(**word));
        return word.map(|word| format!("has a {word}"));
    };
    let setting = setting.to_lowercase().replace("__", ".");
    if is_secret(&setting) {
        return Some("is a secret".to_owned());
    }
    if setting == "membership.sms_url" || setting.ends_with("_body") {
        return Some("may contain the key of a provider".to_owned());
    }
    if setting.ends_with("_headers") {
        let Ok(headers) = serde_json::from_str::<Vec<String>>(value) else {
            return Some("is no list of headers".to_owned());
        };
        let literal = headers.iter().find(|header| !is_harmless(header));
        return literal.map(|header| {
            let named = header.split(':').next().unwrap_or_default();
            format!("has the header {named} with a value of its own")
        });
    }
    None
}

/// Whether the value of a header is a placeholder, after the name of a scheme or alone, or no secret.
fn is_harmless(header: &str) -> bool {
    let Some((name, value)) = header.split_once(':') else {
        return false;
    };
    let is_scheme = |scheme: &str| {
        scheme.len() <= 16
            && scheme
                .chars()
                .all(|letter| letter.is_ascii_alphabetic() || letter == '-')
    };
    let placeholder = match value.trim().split_once(' ') {
        Some((scheme, placeholder)) if is_scheme(scheme) => placeholder,
        _ => value.trim(),
    };
    HARMLESS_HEADERS.contains(&name.trim().to_lowercase().as_str())
        || ["{secret}", "{id}"].contains(&placeholder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_with_a_literal_value_are_found() {
        for (header, harmless) in [
            ("Authorization: Bearer {secret}", true),
            ("Authorization: Api-Key {secret}", true),
            ("X-Api-Key:{secret}", true),
            ("X-Request-Id: {id}", true),
            ("content-type: application/json; charset=utf-8", true),
            ("Authorization: Bearer hunter2", false),
            ("Authorization: hunter2", false),
            ("X-Auth-Token: hunter2{secret}", false),
            ("X-Auth-Token: hunter2 {secret}", false),
            ("X-Auth-Token: {secret} hunter2", false),
            ("hunter2", false),
        ] {
            assert_eq!(is_harmless(header), harmless, "{header}");
        }
    }
}
