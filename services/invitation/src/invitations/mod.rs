//! Invitations: links that staff create, pass on and revoke (R13 to R15).
//!
//! Owns the table `invitation`: role, unit, child, number of uses, expiry, issuer, and the digests of the
//! secrets. Invariants: a link of N uses never has more than N uses reserved or confirmed; a secret is
//! derived from the invitation's id and is never stored or published; the holder of an unusable secret does
//! not learn why it is unusable; a roster import creates one link per expected member.

mod error;
mod events;
pub(crate) mod grpc;
mod model;
mod observers;
mod operations;
mod policy;
mod secret;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use events::{role_to_proto, snapshot};
pub(crate) use model::{Invitation, State};
pub(crate) use observers::{CreateImportedLinks, IMPORT_JOB, IMPORT_OBSERVER, ReleaseObserver};
pub(crate) use operations::{END_JOB, LINKS_PER_CALL, RevokedLinks, managed, stop_of};
pub use operations::{end_revoked_again, revoke_open_links};
pub(crate) use policy::{manages_sample, rules};
pub(crate) use secret::Presented;
pub(crate) use storage::{find, find_by_secret, release_use, reserve_use, update_last_use};
