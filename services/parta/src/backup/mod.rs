//! Backups of the databases of all services, and their restore.
//!
//! A backup is a folder with one file for each database and a manifest, which is written last: a folder
//! without it is an unfinished backup. The databases are copied one after the other while they are in use, so
//! that they are not of one moment; docs/operations/backup.md says what follows.
mod age;
mod databases;
mod expire;
mod files;
mod manifest;
mod postgresql;
mod recover;
mod restore;
mod sqlite;
mod store;

pub(crate) use expire::ExpireCursors;
pub(crate) use recover::Recover;
pub(crate) use restore::Restore;
pub(crate) use store::Backup;

/// The services in the order in which their databases are copied: chat and call-scheduling, which consume
/// events only, come first, so that they are never ahead of their sources.
const COPY_ORDER: [&str; 5] = [
    "chat",
    "call-scheduling",
    "org-registry",
    "membership",
    "invitation",
];

/// The value of a backup without the master secret, for people.
const WITHOUT_SECRET: &str = "This backup has no suite.secret. Keep a copy of that file elsewhere: without it, the \
keys of service accounts and the typed codes of invitations are refused, the audit log cannot be verified, \
and cursors of external systems are void. Everything else can be restored.";
/// The value of a backup with the master secret, for people.
const WITH_SECRET: &str = "This backup has suite.secret. Everybody who can read it can make the keys of service accounts and \
the links of invitations.";
