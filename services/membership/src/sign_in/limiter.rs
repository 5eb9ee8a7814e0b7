//! The limits of sign-in ([`Limit`]), and the count of wrong codes in a row. Both are counted in the
//! transaction of the act. Rows are keyed by a digest: the tables hold neither addresses nor networks.
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_access::Caller;
use parta_database::Tx;

use super::{limits::Limit, model::FAILURES_MAX, storage::failures};
use crate::{
    context::{Context, Run},
    error::Error,
};

/// The limits of one call.
pub(super) struct Limiter<'a> {
    context: &'a Context,
    tx: &'a Tx,
    limits: parta_limits::Limiter<'a>,
}

/// The key under which the wrong codes of an address are counted.
pub(super) fn failures_key(context: &Context, address: &str) -> String {
    let text = format!("failures\n{address}");
    let digest = context.secrets.hmac("membership.sign_in_limits", text.as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}

impl<'a> Limiter<'a> {
    pub(super) fn new(context: &'a Context, tx: &'a Tx, caller: &Caller) -> Self {
        Self {
            context,
            tx,
            limits: parta_limits::Limiter::new(tx, caller),
        }
    }

    /// Takes a token, or refuses the act. The row is locked until the transaction ends.
    pub(super) async fn take(&self, limit: Limit, address: &str) -> Result<(), Error> {
        let (of, subject) = (limit.with(self.context.budgets), limit.subject(address));
        Ok(self.limits.take(of, subject).await?)
    }

    /// Refuses the act if no token is left, and takes none.
    pub(super) async fn require(&self, limit: Limit, address: &str) -> Result<(), Error> {
        let (of, subject) = (limit.with(self.context.budgets), limit.subject(address));
        Ok(self.limits.require(of, subject).await?)
    }

    /// Gives back a token that was taken in this transaction.
    pub(super) async fn give_back(&self, limit: Limit, address: &str) -> Result<(), Error> {
        let (of, subject) = (limit.with(self.context.budgets), limit.subject(address));
        Ok(self.limits.give_back(of, subject).await?)
    }

    /// Fills the bucket again.
    pub(super) async fn refill(&self, limit: Limit, address: &str) -> Result<(), Error> {
        let (of, subject) = (limit.with(self.context.budgets), limit.subject(address));
        Ok(self.limits.refill(of, subject).await?)
    }

    /// Refuses the act if the address is locked.
    pub(super) async fn require_unlocked(&self, address: &str) -> Result<(), Error> {
        let key = failures_key(self.context, address);
        if failures::count(self.tx, &key).await? < FAILURES_MAX {
            return Ok(());
        }
        Err(Error::locked())
    }

    /// Counts a wrong code in a row, or refuses the act if the address is locked. The row is locked until
    /// the transaction ends.
    pub(super) async fn count_failure(&self, address: &str) -> Result<(), Error> {
        let key = failures_key(self.context, address);
        if failures::add(self.tx, &key, self.tx.now()).await? {
            return Ok(());
        }
        Err(Error::locked())
    }

    /// Begins to count at zero.
    pub(super) async fn reset_failures(&self, address: &str) -> Result<(), Error> {
        Ok(failures::delete(self.tx, &failures_key(self.context, address)).await?)
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
        locked |= failures::count(tx, &key).await? >= FAILURES_MAX;
        failures::delete(tx, &key).await?;
    }
    Ok(locked)
}
