//! Authentication of callers, and the proof of permission that storage functions require.
//!
//! A credential proves an identity only: a token never contains roles. The access rule of each RPC, an option
//! in its proto, states which kinds of caller are accepted. The policy of the service decides the rest.
//! [`authorize`] turns its decision into an [`OrgScope`], which storage functions that serve a call
//! about an organization require. A call that has to read a row before it can decide gets its scope
//! from another function, such as [`belongs`]; [`OrgScope`] says what each of them proves.
//!
//! Also here, because several services need them: the permissions of service accounts (`catalog`), the
//! rows of the permission matrix (`permission`) and the digests of invitation links (`link`).
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
