//! The reasons with which each RPC is refused, read from the comments of the protos.
//!
//! The comment of an RPC ends with `Reasons: NOT_FOUND (the chat), CHAT_ARCHIVED.` A note in parentheses is
//! for people. Reasons that any RPC may return have `common: true` in the proto that declares them and
//! are not listed. An RPC without reasons of its own says `Reasons: none of its own.` The tests of all
//! services and `cargo xtask reasons` read the lists here, from descriptors that keep their comments.
#![warn(missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use prost_reflect::{DescriptorPool, MethodDescriptor};

/// The list of an RPC that has no reasons of its own.
const NONE: &str = "none of its own";
/// The package of the reasons that services share.
const SHARED: &str = "parta.status.v1";

/// The documented reasons of all RPCs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentedReasons {
    /// By the full name of the RPC, `parta.chat.v1.ChatService/GetChat`.
    rpcs: BTreeMap<String, BTreeSet<String>>,
    common: BTreeSet<String>,
}

/// Everything wrong with the lists, a line for each RPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableReasons(pub Vec<String>);

impl fmt::Display for UnreadableReasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "comments of RPCs list reasons wrongly:\n{}", self.0.join("\n"))
    }
}

impl std::error::Error for UnreadableReasons {}

impl DocumentedReasons {
    /// Reads the lists of every RPC of the packages `parta.*`. Fails for an RPC without a list, for a list
    /// that cannot be read, and for a reason that is common or that neither the RPC's package nor the shared
    /// one declares.
    pub fn read(pool: &DescriptorPool) -> Result<Self, UnreadableReasons> {
        let common = common(pool);
        let mut rpcs = BTreeMap::new();
        let mut wrong = Vec::new();
        let services = pool.services().filter(|s| s.full_name().starts_with("parta."));
        for method in services.flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let name = format!("{}/{}", method.parent_service().full_name(), method.name());
            match reasons(pool, &method, &common) {
                Ok(reasons) => drop(rpcs.insert(name, reasons)),
                Err(error) => wrong.push(format!("{name}: {error}")),
            }
        }
        if wrong.is_empty() {
            Ok(Self { rpcs, common })
        } else {
            Err(UnreadableReasons(wrong))
        }
    }

    /// Returns every listed reason with its RPC.
    pub fn listed(&self) -> impl Iterator<Item = (&str, &str)> {
        let of = |(rpc, reasons)| -> (&String, &BTreeSet<String>) { (rpc, reasons) };
        self.rpcs
            .iter()
            .map(of)
            .flat_map(|(rpc, reasons)| reasons.iter().map(|reason| (rpc.as_str(), reason.as_str())))
    }

    /// Returns the reasons that any RPC may return.
    pub fn common(&self) -> impl Iterator<Item = &str> {
        self.common.iter().map(String::as_str)
    }

    /// Whether the RPC may be refused with the reason. `domain` is that of `ErrorInfo`: a reason of another
    /// service is never documented.
    pub fn allows(&self, rpc: &str, domain: &str, reason: &str) -> bool {
        if domain == "parta" && self.common.contains(reason) {
            return true;
        }
        let of_service = domain.strip_suffix(".parta").is_some_and(|noun| {
            rpc.split('.')
                .nth(1)
                .is_some_and(|part| part.replace('_', "-") == noun)
        });
        (domain == "parta" || of_service)
            && self.rpcs.get(rpc).is_some_and(|reasons| reasons.contains(reason))
    }
}

/// The shared reasons whose rule says `common`.
fn common(pool: &DescriptorPool) -> BTreeSet<String> {
    let (Some(reasons), Some(extension)) = (
        pool.get_enum_by_name(&format!("{SHARED}.ErrorReason")),
        pool.get_extension_by_name("parta.options.v1.reason"),
    ) else {
        return BTreeSet::new();
    };
    let is_common = |value: &prost_reflect::EnumValueDescriptor| {
        let options = value.options();
        let rule = options.get_extension(&extension);
        let common = rule
            .as_message()
            .and_then(|rule| rule.get_field_by_name("common"));
        common.is_some_and(|common| common.as_bool() == Some(true))
    };
    let values = reasons.values().filter(is_common);
    values
        .map(|value| value.name().trim_start_matches("ERROR_REASON_").to_owned())
        .collect()
}

/// The list of one RPC.
fn reasons(
    pool: &DescriptorPool,
    method: &MethodDescriptor,
    common: &BTreeSet<String>,
) -> Result<BTreeSet<String>, String> {
    let service = method.parent_service();
    let file = service.parent_file();
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|l| l.path == method.path()));
    let comment = location.map_or("", |location| location.leading_comments());
    let package = service.package_name().replace(".internal.", ".");
    let declared = |reason: &str| {
        [package.as_str(), SHARED].iter().any(|package| {
            let reasons = pool.get_enum_by_name(&format!("{package}.ErrorReason"));
            reasons.is_some_and(|e| e.get_value_by_name(&format!("ERROR_REASON_{reason}")).is_some())
        })
    };
    let listed = parse(comment)?;
    if let Some(reason) = listed.iter().find(|reason| common.contains(*reason)) {
        return Err(format!("{reason} is common to all RPCs and is not listed"));
    }
    if let Some(reason) = listed.iter().find(|reason| !declared(reason)) {
        return Err(format!("{reason} is not declared"));
    }
    Ok(listed)
}

/// Reads `Reasons: A (a note), B.`, the last sentence of a comment.
fn parse(comment: &str) -> Result<BTreeSet<String>, String> {
    let (_, list) = comment
        .split_once("Reasons:")
        .ok_or("the comment has no `Reasons:`")?;
    let list = without_notes(list)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let list = list
        .strip_suffix('.')
        .ok_or("the list is not the last sentence of the comment")?;
    if list == NONE {
        return Ok(BTreeSet::new());
    }
    let mut reasons = BTreeSet::new();
    for reason in list.split(',').map(str::trim) {
        if reason.is_empty() || !reason.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
            return Err(format!("`{reason}` is not the name of a reason"));
        }
        if !reasons.insert(reason.to_owned()) {
            return Err(format!("{reason} is listed twice"));
        }
    }
    Ok(reasons)
}

fn without_notes(list: &str) -> String {
    let mut depth = 0_u32;
    let mut text = String::new();
    for c in list.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => text.push(c),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests;
