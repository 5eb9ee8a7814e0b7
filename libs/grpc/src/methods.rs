//! RPCs by path, from the descriptors. Unknown paths never become labels and have no limits of their own.
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

/// One RPC of the suite.
#[derive(Debug)]
pub(crate) struct Method {
    /// The path: `/parta.chat.v1.ChatService/SendMessage`.
    pub(crate) path: &'static str,
    /// The path without the leading slash, as callers carry it.
    pub(crate) rpc: Arc<str>,
    /// The service that owns the RPC, in kebab-case: `call-scheduling`.
    pub(crate) owner: &'static str,
    /// Whether the client or the server streams.
    pub(crate) streaming: bool,
    /// Whether it changes state, with one request message that has a `request_id`.
    pub(crate) mutation: bool,
}

/// Returns the RPC of a path, if the suite has it.
pub(crate) fn find(path: &str) -> Option<&'static Method> {
    static METHODS: OnceLock<HashMap<String, Method>> = OnceLock::new();
    let methods = METHODS.get_or_init(|| {
        let mut found = HashMap::new();
        let Some(pool) = parta_proto::descriptor_pool() else {
            return found;
        };
        for service in pool.services() {
            let owner = owner_of(service.full_name());
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                let streaming = method.is_client_streaming() || method.is_server_streaming();
                let mutation =
                    !method.is_client_streaming() && method.input().get_field_by_name("request_id").is_some();
                // Leaked once per RPC of the suite, at the first use.
                let known = Method {
                    path: path.clone().leak(),
                    rpc: path.trim_start_matches('/').into(),
                    owner: owner.clone().leak(),
                    streaming,
                    mutation,
                };
                found.insert(path, known);
            }
        }
        found
    });
    methods.get(path)
}

/// Returns the owner of a gRPC service: `parta.call_scheduling.v1.CallService` belongs to `call-scheduling`.
fn owner_of(full_name: &str) -> String {
    full_name.split('.').nth(1).unwrap_or_default().replace('_', "-")
}

/// Returns whether the path is a health check or reflection. They expose no data and must work while other
/// calls are refused.
pub(crate) fn is_open(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.Health/") || path.starts_with("/grpc.reflection.")
}
