//! RPCs by path, from the descriptors. Unknown paths never become labels and have no limits of their own.
use std::{collections::HashMap, sync::Arc};

use parta_proto::{Method, Package};

/// The RPCs of the packages that a server or a client knows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Methods(Arc<HashMap<&'static str, &'static Method>>);

impl Methods {
    /// Returns the RPCs of packages.
    #[must_use]
    pub fn of(packages: &[&'static Package]) -> Self {
        let methods = packages.iter().flat_map(|package| package.methods);
        Self(Arc::new(methods.map(|method| (method.path, method)).collect()))
    }

    /// Returns the RPC of a path, if one of the packages has it.
    pub(crate) fn find(&self, path: &str) -> Option<&'static Method> {
        self.0.get(path).copied()
    }

    /// Returns whether the path is one of Parta and its package is missing here. Streams and deadlines of
    /// such a call are not known.
    pub(crate) fn lack_package_of(&self, path: &str) -> bool {
        if self.0.contains_key(path) || !path.starts_with("/parta.") {
            return false;
        }
        let service = path.rsplit_once('/').map(|(service, _)| service);
        let mut services = self
            .0
            .keys()
            .map(|known| known.rsplit_once('/').map(|(service, _)| service));
        !services.any(|known| known == service)
    }
}

/// Returns whether the path is a health check or reflection. They expose no data and must work while other
/// calls are refused.
pub(crate) fn is_open(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.Health/") || path.starts_with("/grpc.reflection.")
}

/// Returns whether the path is a health check with one response.
pub(crate) fn is_health_check(path: &str) -> bool {
    path == "/grpc.health.v1.Health/Check"
}

#[cfg(test)]
mod tests {
    use parta_proto_all::PACKAGES;

    use super::*;

    #[test]
    fn rpcs_of_missing_packages_are_recognized() {
        let (all, none) = (Methods::of(PACKAGES), Methods::of(&[]));
        let path = "/parta.chat.v1.ChatService/GetChat";
        assert!(all.find(path).is_some() && !all.lack_package_of(path));
        assert!(none.find(path).is_none() && none.lack_package_of(path));
        // The server refuses these itself.
        assert!(!all.lack_package_of("/parta.chat.v1.ChatService/NoSuchRpc"));
        assert!(!none.lack_package_of("/no.Such/Rpc"));
    }
}
