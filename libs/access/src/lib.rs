//! Who calls, and what proof of permission storage asks for.
//!
//! A credential proves who somebody is and nothing more: roles are never in a token. Each RPC's rule, an option in its
//! proto, says which kinds of caller enter; the service's policy decides the rest; [`authorize`] turns its decision into an
//! [`OrgScope`], without which no storage function can be called.

mod caller;
mod keys;
mod operator;
mod permission;
mod scope;
mod service;
mod table;
mod tokens;
mod verifier;

pub use caller::{Caller, Principal};
pub use keys::{KeyError, KeyPair, KeyedDigest, Secrets};
pub use operator::OperatorCredential;
pub use permission::{
    CreatorPermission, Permission, PermissionRule, PrincipalKind, creator_rows, permission_rows,
};
pub use scope::{Decision, OrgScope, authorize};
pub use service::{ServiceIdentity, ServiceKeys};
pub use table::{AccessError, AccessRules, Rule};
pub use tokens::{Jwks, SignedToken, SigningKey, TokenIssuer};
pub use verifier::{Fetch, JwkSource, Verifier};

#[cfg(test)]
mod tests;
