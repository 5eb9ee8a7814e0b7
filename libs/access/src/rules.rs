use std::collections::HashMap;

use parta_proto::options::v1::{AccessRule, CallerKind};
use prost_reflect::{DescriptorPool, Kind, MethodDescriptor};

use crate::ServiceAccountPermission;

/// The reason why a server must not start.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The descriptor set is corrupted or lacks the options.
    #[error("the embedded descriptor set cannot be read")]
    Descriptors,
    /// A service is not in the descriptor set.
    #[error("service {0} is not in the descriptor set")]
    UnknownService(String),
    /// An RPC has no access rule or a contradictory one.
    #[error("{rpc}: {why}")]
    Rule {
        /// The full name of the RPC.
        rpc: String,
        /// The error in the rule.
        why: &'static str,
    },
}

/// The access rule of one RPC.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The accepted kinds of caller.
    pub callers: Vec<CallerKind>,
    /// The services that may call; `*` means any service of Parta.
    pub services: Vec<String>,
    /// The permission that a service account needs; `None` if the RPC accepts none.
    pub permission: Option<ServiceAccountPermission>,
    /// Whether reads with this RPC are audited.
    pub audited_read: bool,
    /// Whether the RPC changes state.
    pub mutation: bool,
    /// Whether the server or the client streams.
    pub streaming: bool,
}

impl Rule {
    /// Returns whether this kind of caller is accepted.
    pub fn accepts(&self, kind: CallerKind) -> bool {
        self.callers.contains(&kind)
    }

    /// Returns whether the service with this name may call.
    pub fn accepts_service(&self, name: &str) -> bool {
        self.services.iter().any(|s| s == "*" || s == name)
    }
}

/// The access rules of every RPC that a server offers, read from the protos. They deny by default: a server
/// with an RPC without a rule does not start.
#[derive(Debug, Clone, Default)]
pub struct AccessRules(HashMap<String, Rule>);

impl AccessRules {
    /// Loads the rules of these services, given by full name, from descriptors that contain them.
    pub fn load(pool: &DescriptorPool, services: &[&str]) -> Result<Self, AccessError> {
        let mut table = HashMap::new();
        for name in services {
            let service = pool
                .get_service_by_name(name)
                .ok_or_else(|| AccessError::UnknownService((*name).to_owned()))?;
            for method in service.methods() {
                table.insert(format!("{name}/{}", method.name()), rule(&method)?);
            }
        }
        Ok(Self(table))
    }

    /// Returns the rule of an RPC by its path, with or without the leading slash.
    pub fn rule(&self, path: &str) -> Option<&Rule> {
        self.0.get(path.strip_prefix('/').unwrap_or(path))
    }

    /// Iterates over all RPCs and their rules.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Rule)> {
        self.0.iter().map(|(rpc, rule)| (rpc.as_str(), rule))
    }
}

fn rule(method: &MethodDescriptor) -> Result<Rule, AccessError> {
    let fault = |why| AccessError::Rule {
        rpc: method.full_name().to_owned(),
        why,
    };
    let extension = method
        .parent_pool()
        .get_extension_by_name("parta.options.v1.access")
        .ok_or(AccessError::Descriptors)?;
    let options = method.options();
    if !options.has_extension(&extension) {
        return Err(fault("has no access rule"));
    }
    let value = options.get_extension(&extension);
    let message = value.as_message().ok_or(AccessError::Descriptors)?;
    let rule: AccessRule = message.transcode_to().map_err(|_| AccessError::Descriptors)?;
    let callers: Vec<CallerKind> = rule.callers().collect();
    if callers.is_empty() || callers.contains(&CallerKind::Unspecified) {
        return Err(fault("names no kind of caller"));
    }
    let by_service = callers.contains(&CallerKind::Service);
    let for_person = callers.contains(&CallerKind::ServiceForPerson);
    if (by_service || for_person) == rule.services.is_empty() {
        return Err(fault(
            "must name the services that may call if, and only if, services may",
        ));
    }
    if by_service == rule.ground.is_empty() {
        return Err(fault(
            "must name the ground on which a service acts if, and only if, one may",
        ));
    }
    if callers.contains(&CallerKind::ServiceAccount) == rule.permission.is_empty() {
        return Err(fault(
            "must name the permission of service accounts if, and only if, they may call",
        ));
    }
    let permission = match rule.permission.as_str() {
        "" => None,
        name => Some(
            name.parse()
                .map_err(|_| fault("names a permission that is not in the catalog"))?,
        ),
    };
    let request_id = method.input().get_field_by_name("request_id");
    if rule.mutation && !request_id.is_some_and(|field| !field.is_list() && field.kind() == Kind::String) {
        return Err(fault("changes state, but its request has no string request_id"));
    }
    Ok(Rule {
        callers,
        services: rule.services,
        permission,
        audited_read: rule.audited_read,
        mutation: rule.mutation,
        streaming: method.is_server_streaming() || method.is_client_streaming(),
    })
}
