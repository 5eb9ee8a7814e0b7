use std::{collections::HashMap, sync::OnceLock};

use prost_reflect::{DynamicMessage, Value};
use tonic::Code;

/// A documented reason: a value of the `ErrorReason` enum of one package.
pub trait Reason: Copy {
    /// Returns the name of the value without the prefix of the enum, for example `LAST_ADMINISTRATOR`.
    fn text(&self) -> &'static str;
    /// Returns `ErrorInfo.domain`, for example `membership.parta`.
    fn domain() -> &'static str;
}

macro_rules! reasons {
    ($($module:ident => $domain:literal),* $(,)?) => {
        $(impl Reason for parta_proto::parta::$module::v1::ErrorReason {
            fn text(&self) -> &'static str {
                let name = self.as_str_name();
                name.strip_prefix("ERROR_REASON_").unwrap_or(name)
            }
            fn domain() -> &'static str {
                $domain
            }
        })*
        /// Every domain, with the package that declares its reasons.
        pub(crate) const DOMAINS: &[(&str, &str)] =
            &[$(($domain, concat!("parta.", stringify!($module), ".v1"))),*];
    };
}

reasons! {
    status => "parta",
    org_registry => "org-registry.parta",
    call_scheduling => "call-scheduling.parta",
    membership => "membership.parta",
    invitation => "invitation.parta",
    chat => "chat.parta",
}

/// The options of one reason in its proto.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) code: Code,
    pub(crate) metadata: Vec<String>,
}

fn code(name: &str) -> Option<Code> {
    Some(match name {
        "CANCELLED" => Code::Cancelled,
        "INVALID_ARGUMENT" => Code::InvalidArgument,
        "DEADLINE_EXCEEDED" => Code::DeadlineExceeded,
        "NOT_FOUND" => Code::NotFound,
        "ALREADY_EXISTS" => Code::AlreadyExists,
        "PERMISSION_DENIED" => Code::PermissionDenied,
        "RESOURCE_EXHAUSTED" => Code::ResourceExhausted,
        "FAILED_PRECONDITION" => Code::FailedPrecondition,
        "ABORTED" => Code::Aborted,
        "OUT_OF_RANGE" => Code::OutOfRange,
        "UNIMPLEMENTED" => Code::Unimplemented,
        "INTERNAL" => Code::Internal,
        "UNAVAILABLE" => Code::Unavailable,
        "DATA_LOSS" => Code::DataLoss,
        "UNAUTHENTICATED" => Code::Unauthenticated,
        _ => return None,
    })
}

/// Returns the rules of all reasons by (domain, reason), read once from the descriptor set.
pub(crate) fn rules() -> &'static HashMap<(&'static str, String), Rule> {
    static RULES: OnceLock<HashMap<(&'static str, String), Rule>> = OnceLock::new();
    RULES.get_or_init(|| {
        let mut rules = HashMap::new();
        let Some(pool) = parta_proto::descriptor_pool() else {
            return rules;
        };
        let Some(extension) = pool.get_extension_by_name("parta.options.v1.reason") else {
            return rules;
        };
        for (domain, package) in DOMAINS {
            let Some(reasons) = pool.get_enum_by_name(&format!("{package}.ErrorReason")) else {
                continue;
            };
            for value in reasons.values() {
                let options = value.options();
                let option = options.get_extension(&extension);
                let Some(message) = option.as_message() else {
                    continue;
                };
                if let Some(rule) = rule(message) {
                    let name = value.name().strip_prefix("ERROR_REASON_").unwrap_or(value.name());
                    rules.insert((*domain, name.to_owned()), rule);
                }
            }
        }
        rules
    })
}

fn rule(message: &DynamicMessage) -> Option<Rule> {
    let name = message.get_field_by_name("code")?;
    let metadata = message.get_field_by_name("metadata")?;
    let metadata = metadata
        .as_list()?
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    Some(Rule {
        code: code(name.as_str()?)?,
        metadata,
    })
}
