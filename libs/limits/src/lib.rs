//! The limiter of all services: how often callers may do what costs money, space or attention.
//!
//! A limit has a name, which stands in the refusal, in the metric `parta.limits.refused` and in the
//! documentation, and a [`Bucket`]. It counts the acts of one [`Subject`] together. No limit counts by the
//! person who is harmed alone, because anybody could exhaust it and lock that person out (reach, case 28).
//!
//! Everything is counted in the transaction of the act, so that a refused call counts nothing and the limits
//! hold over all replicas. Rows are keyed by a digest with a key of the service: the table `limit_bucket`
//! holds neither addresses nor networks.

#![warn(missing_docs)]

mod bucket;
mod migrations;
mod storage;

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use opentelemetry::{KeyValue, global, metrics::Counter};
use parta_access::Caller;
use parta_database::{Db, StorageError, Tx};
use parta_proto::status::v1::ErrorReason as Common;
use parta_status::RpcError;

pub use bucket::Bucket;
pub use migrations::migrations;

/// Built at the first use, when telemetry is in place.
static REFUSED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    global::meter("parta")
        .u64_counter("parta.limits.refused")
        .with_description("Acts that a limit refused")
        .build()
});

/// A limit of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The name, which no other limit of the service has.
    pub name: &'static str,
    /// The tokens.
    pub bucket: Bucket,
}

/// The callers whose acts a limit counts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// All callers of the installation.
    Installation,
    /// All callers of one network: an IPv4 address, or an IPv6 /64 network. Callers without a network, which
    /// are in this process, are one subject.
    Network,
    /// The callers of one network who use this address, such as a phone number.
    NetworkAndAddress(&'a str),
    /// One caller, on whatever network.
    Caller,
}

impl Subject<'_> {
    /// The subject and the description in the refusal (`QuotaFailure`).
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Installation => ("installation", "Too many such acts in the whole installation."),
            Self::Network => ("network", "Too many such acts from this network."),
            Self::NetworkAndAddress(_) => (
                "address and network",
                "Too many such acts for this address from this network.",
            ),
            Self::Caller => ("caller", "Too many such acts of this caller."),
        }
    }
}

/// The limiter of one call.
pub struct Limiter<'a> {
    tx: &'a Tx,
    /// The network of the caller; empty within this process.
    network: String,
    /// The key of the principal whose rights decide.
    caller: String,
}

impl<'a> Limiter<'a> {
    /// Returns the limiter of a call.
    pub fn new(tx: &'a Tx, caller: &Caller) -> Self {
        let network = caller
            .network
            .map_or_else(String::new, |network| network.to_string());
        Self {
            tx,
            network,
            caller: caller.acting().key(),
        }
    }

    fn key(&self, limit: Limit, subject: Subject<'_>) -> String {
        let parts: &[&str] = match subject {
            Subject::Installation => &[limit.name],
            Subject::Network => &[limit.name, &self.network],
            Subject::NetworkAndAddress(address) => &[limit.name, &self.network, address],
            Subject::Caller => &[limit.name, &self.caller],
        };
        let db = self.tx.db();
        let label = format!("{}.limits", db.service());
        let digest = db.secrets().hmac(&label, parts.join("\n").as_bytes());
        URL_SAFE_NO_PAD.encode(digest)
    }

    fn now_millis(&self) -> i64 {
        self.tx.now().timestamp_millis()
    }

    /// Takes a token, or refuses the act with RATE_LIMITED. The row is locked until the transaction ends, so
    /// all calls take the tokens of their limits in one order, that of the installation last.
    pub async fn take(&self, limit: Limit, subject: Subject<'_>) -> Result<(), RpcError> {
        let (key, now) = (self.key(limit, subject), self.now_millis());
        if storage::take(self.tx, limit.name, &key, limit.bucket, now).await? {
            return Ok(());
        }
        let full = storage::find(self.tx, limit.name, &key).await?;
        // Purged between the two statements, because it is full.
        let full = full.ok_or_else(|| StorageError::Conflict("the limit was just purged".into()))?;
        Err(self.refused(limit, subject, limit.bucket.wait(full, now)))
    }

    /// Refuses the act with RATE_LIMITED if no token is left, and takes none.
    pub async fn require(&self, limit: Limit, subject: Subject<'_>) -> Result<(), RpcError> {
        let key = self.key(limit, subject);
        let Some(full) = storage::find(self.tx, limit.name, &key).await? else {
            return Ok(());
        };
        let wait = limit.bucket.wait(full, self.now_millis());
        if wait <= TimeDelta::zero() {
            return Ok(());
        }
        Err(self.refused(limit, subject, wait))
    }

    /// Gives back a token that was taken in this transaction.
    pub async fn give_back(&self, limit: Limit, subject: Subject<'_>) -> Result<(), RpcError> {
        let key = self.key(limit, subject);
        Ok(storage::give_back(self.tx, limit.name, &key, limit.bucket).await?)
    }

    /// Fills the bucket again.
    pub async fn refill(&self, limit: Limit, subject: Subject<'_>) -> Result<(), RpcError> {
        Ok(storage::delete(self.tx, limit.name, &self.key(limit, subject)).await?)
    }

    fn refused(&self, limit: Limit, subject: Subject<'_>, wait: TimeDelta) -> RpcError {
        let service = KeyValue::new("service", self.tx.db().service());
        REFUSED.add(1, &[service, KeyValue::new("limit", limit.name)]);
        let (quota, why) = subject.texts();
        RpcError::new(Common::RateLimited, format!("{why} Try again later."))
            .quota(quota, why)
            .meta("limit", limit.name)
            .retry_after(wait.to_std().unwrap_or_default())
    }
}

/// Deletes the rows of buckets that are full, which limit nothing.
pub async fn purge(db: &Db) -> Result<(), StorageError> {
    db.write(|tx| async move { storage::delete_full(&tx, tx.now().timestamp_millis()).await })
        .await
}
