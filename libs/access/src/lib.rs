//! Authentication of callers, and the proof of permission that storage functions require.
//!
//! A credential proves an identity only: a token never contains roles. The access rule of each RPC, an option
//! in its proto, states which kinds of caller are accepted. The policy of the service decides the rest.
//! [`authorize`] turns its decision into an [`OrgScope`], without which no storage function can be called.
//! If a call is decided by a row that it has yet to read, other functions return the scope, and
//! [`OrgScope`] says what each of them proves.
#![warn(missing_docs)]

mod caller;
mod catalog;
mod keys;
mod link;
mod operator;
mod permission;
mod revocations;
mod rules;
mod scope;
mod service;
mod tokens;
mod verifier;

pub use caller::{Caller, Principal};
pub use catalog::{ServiceAccountPermission, UnknownPermission};
pub use keys::{KeyError, KeyPair, KeyedDigest, Secrets};
pub use link::{InvalidLinkDigest, LinkDigest, typed_code};
pub use operator::OperatorCredential;
pub use permission::{
    CreatorPermission, Permission, PermissionRule, PrincipalKind, creator_rows, permission_rows,
};
pub use revocations::{MAX_REVOCATIONS, REVOCATION_LIFETIME, RevocationWatch, Revoked, TooManyRevocations};
pub use rules::{AccessError, AccessRules, Rule};
pub use scope::{Decision, OrgScope, authorize, belongs, lookup_scope, require_operator, service_scope};
pub use service::{ServiceIdentity, ServiceKeys};
pub use tokens::{Jwks, SignedToken, SigningKey, TokenIssuer};
pub use verifier::{Fetch, JwkSource, Verifier};

#[cfg(test)]
mod tests;
