//! The one limiter of sign-in: takes tokens of the limits of [`Limit`], and counts wrong codes in a row.
//!
//! Everything is counted in the transaction of the act, so that a refused call counts nothing and the
//! limits hold over all replicas. Rows are keyed by a digest: the table holds neither addresses nor
//! networks.
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_access::Caller;
use parta_database::{StorageError, Tx};

use super::{
    model::{FAILURES_MAX, Limit, Scope},
    storage::limits,
};
use crate::{
    context::{Context, Run},
    error::Error,
};

/// The limits of one call.
pub(super) struct Limiter<'a> {
    context: &'a Context,
    tx: &'a Tx,
    /// The network of the caller; empty within this process.
    network: String,
}

/// The key under which the wrong codes of an address are counted.
pub(super) fn failures_key(context: &Context, address: &str) -> String {
    digest(context, &["failures", address])
}

fn digest(context: &Context, parts: &[&str]) -> String {
    let digest = context
        .secrets
        .hmac("membership.sign_in_limits", parts.join("\n").as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}

impl<'a> Limiter<'a> {
    pub(super) fn new(context: &'a Context, tx: &'a Tx, caller: &Caller) -> Self {
        let network = caller
            .network
            .map_or_else(String::new, |network| network.to_string());
        Self { context, tx, network }
    }

    fn key(&self, limit: Limit, address: &str) -> String {
        let parts = match limit.scope() {
            Scope::Installation => vec![limit.name()],
            Scope::Network => vec![limit.name(), self.network.as_str()],
            Scope::NetworkAndAddress => vec![limit.name(), self.network.as_str(), address],
        };
        digest(self.context, &parts)
    }

    fn now_millis(&self) -> i64 {
        self.tx.now().timestamp_millis()
    }

    /// Takes a token, or refuses the act. The row is locked until the transaction ends.
    pub(super) async fn take(&self, limit: Limit, address: &str) -> Result<(), Error> {
        let (key, now) = (self.key(limit, address), self.now_millis());
        let bucket = limit.bucket(self.context.budgets);
        if limits::take(self.tx, limit.number(), &key, bucket, now).await? {
            return Ok(());
        }
        let full = limits::find(self.tx, limit.number(), &key).await?;
        // Purged between the two statements, because it is full.
        let full = full.ok_or_else(|| StorageError::Conflict("the limit was just purged".into()))?;
        Err(Error::limited(limit, bucket.wait(full, now)))
    }

    /// Refuses the act if no token is left, and takes none.
    pub(super) async fn require(&self, limit: Limit, address: &str) -> Result<(), Error> {
        let key = self.key(limit, address);
        let Some(full) = limits::find(self.tx, limit.number(), &key).await? else {
            return Ok(());
        };
        let wait = limit.bucket(self.context.budgets).wait(full, self.now_millis());
        if wait <= chrono::TimeDelta::zero() {
            return Ok(());
        }
        Err(Error::limited(limit, wait))
    }

    /// Gives back a token that was taken in this transaction.
    pub(super) async fn give_back(&self, limit: Limit, address: &str) -> Result<(), Error> {
        let (key, bucket) = (self.key(limit, address), limit.bucket(self.context.budgets));
        Ok(limits::give_back(self.tx, limit.number(), &key, bucket).await?)
    }

    /// Fills the bucket again.
    pub(super) async fn refill(&self, limit: Limit, address: &str) -> Result<(), Error> {
        Ok(limits::delete(self.tx, limit.number(), &self.key(limit, address)).await?)
    }

    /// Refuses the act if the address is locked.
    pub(super) async fn require_unlocked(&self, address: &str) -> Result<(), Error> {
        let key = failures_key(self.context, address);
        if limits::failures(self.tx, &key).await? < FAILURES_MAX {
            return Ok(());
        }
        Err(Error::locked())
    }

    /// Counts a wrong code in a row, or refuses the act if the address is locked. The row is locked until
    /// the transaction ends.
    pub(super) async fn count_failure(&self, address: &str) -> Result<(), Error> {
        let key = failures_key(self.context, address);
        if limits::count_failure(self.tx, &key, self.tx.now()).await? {
            return Ok(());
        }
        Err(Error::locked())
    }

    /// Begins to count at zero.
    pub(super) async fn reset_failures(&self, address: &str) -> Result<(), Error> {
        Ok(limits::delete_failures(self.tx, &failures_key(self.context, address)).await?)
    }
}

/// Refuses an attempt to enter a code that belongs to no address, if the network of the caller has entered
/// too many wrong ones.
pub(crate) async fn require_attempt(run: Run<'_>) -> Result<(), Error> {
    let Run { context, tx, caller } = run;
    let limiter = Limiter::new(context, tx, caller);
    limiter.require(Limit::WrongCodesOfNetwork, "").await
}

/// Counts a wrong code that belongs to no address.
pub(crate) async fn count_wrong_attempt(run: Run<'_>) -> Result<(), Error> {
    let Run { context, tx, caller } = run;
    let limiter = Limiter::new(context, tx, caller);
    limiter.take(Limit::WrongCodesOfNetwork, "").await
}

/// Lifts the locks of addresses. Returns whether one of them was locked.
pub(crate) async fn unlock(context: &Context, tx: &Tx, addresses: &[String]) -> Result<bool, Error> {
    let mut keys: Vec<_> = addresses
        .iter()
        .map(|address| failures_key(context, address))
        .collect();
    // In one order, so that two calls do not wait for each other.
    keys.sort_unstable();
    let mut locked = false;
    for key in keys {
        locked |= limits::failures(tx, &key).await? >= FAILURES_MAX;
        limits::delete_failures(tx, &key).await?;
    }
    Ok(locked)
}
