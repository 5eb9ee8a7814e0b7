use chrono::{DateTime, Utc};
use parta_database::StorageError;
use parta_edge::{Act, Mutation, Stored, UnclaimedMutation};
use parta_ids::FlowId;
use serde::{Deserialize, Serialize};

use super::{
    limiter::{self, Limiter},
    limits::Limit,
    model::{CODE_LIFE, RESEND},
    proof::{self, ProofDigest},
    storage,
};
use crate::{
    accounts::{self, Account, Address},
    context::{Context, Run},
    delivery::{self, Purpose},
    error::Error,
};

/// Sends a code for signing in to an address. Nothing here looks whether the address is known.
#[derive(Debug)]
pub(crate) struct RequestCode {
    pub(crate) address: Address,
}

/// The outcome of RequestCode. Holds the time because flows are deleted after a day.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Requested {
    flow_id: FlowId,
    /// When the code was sent, in microseconds since the epoch.
    send_time_micros: i64,
}

impl Stored for Requested {}

#[derive(Debug)]
pub(crate) struct SentCode {
    pub(crate) flow_id: FlowId,
    /// From when another code may be requested.
    pub(crate) resend_time: DateTime<Utc>,
    pub(crate) expire_time: DateTime<Utc>,
}

impl Mutation for RequestCode {
    type Context = Context;
    type Grant = ();
    type Outcome = Requested;
    type View = SentCode;
    type Error = Error;

    /// Anyone may request a code; the limits are part of the act.
    async fn authorize(&self, _: Run<'_>) -> Result<(), Error> {
        Ok(())
    }

    async fn act(&self, run: Run<'_>, (): &()) -> Result<Requested, Error> {
        let requested = send_code(run, &self.address, Purpose::SignIn).await?;
        let object = format!("signInFlows/{}", requested.flow_id);
        parta_audit::record(run.tx, run.caller, None, object).await?;
        Ok(requested)
    }

    async fn view(&self, _: Run<'_>, (): &(), outcome: &Requested) -> Result<SentCode, Error> {
        outcome.sent()
    }
}

impl Requested {
    /// The code as the person may know it.
    pub(crate) fn sent(&self) -> Result<SentCode, Error> {
        let sent = DateTime::from_timestamp_micros(self.send_time_micros)
            .ok_or_else(|| StorageError::Fault("an outcome has a time out of range".into()))?;
        Ok(SentCode {
            flow_id: self.flow_id,
            resend_time: sent + RESEND,
            expire_time: sent + CODE_LIFE,
        })
    }

    pub(crate) fn flow_id(&self) -> FlowId {
        self.flow_id
    }
}

/// Sends a code to an address, as far as the limits allow it.
pub(crate) async fn send_code(run: Run<'_>, to: &Address, purpose: Purpose) -> Result<Requested, Error> {
    let Run { context, tx, caller } = run;
    let (now, address) = (tx.now(), to.text());
    let limiter = Limiter::new(context, tx, caller);
    limiter.require_unlocked(address).await?;
    // A code that could not be entered is not sent.
    limiter.require(Limit::WrongCodesToAddress, address).await?;
    for limit in Limit::OF_REQUEST {
        limiter.take(limit, address).await?;
    }
    let flow_id: FlowId = tx.env().id();
    storage::insert(tx, flow_id, purpose, address, now, now + CODE_LIFE).await?;
    delivery::owe(context, tx, flow_id, purpose, to).await?;
    Ok(Requested {
        flow_id,
        send_time_micros: now.timestamp_micros(),
    })
}

/// Compares a code with that of a flow. Returns the address of the flow, or `None` for a wrong code.
///
/// Each attempt is counted as a wrong code before the code is compared, so that concurrent attempts do not
/// exceed a limit. A right code takes the count back. A call that a limit refuses counts nothing.
pub(crate) async fn try_code(
    run: Run<'_>,
    (flow, code): (FlowId, &str),
    purpose: Purpose,
) -> Result<Option<String>, Error> {
    let Run { context, tx, caller } = run;
    let limiter = Limiter::new(context, tx, caller);
    limiter.take(Limit::WrongCodesOfNetwork, "").await?;
    let address = storage::take_attempt(tx, flow, purpose, tx.now()).await?;
    let address = address.ok_or_else(|| match purpose {
        Purpose::SignIn => Error::flow_unknown(),
        Purpose::ContactChange => Error::change_unknown(),
    })?;
    limiter.take(Limit::WrongCodesToAddress, &address).await?;
    limiter.count_failure(&address).await?;
    if !delivery::is_code(&context.secrets, flow, code) {
        return Ok(None);
    }
    limiter.give_back(Limit::WrongCodesOfNetwork, "").await?;
    limiter.refill(Limit::WrongCodesToAddress, &address).await?;
    // The owner of the address is here: the next member of the family need not wait.
    limiter.refill(Limit::Resend, &address).await?;
    limiter.reset_failures(&address).await?;
    Ok(Some(address))
}

/// Proves an address by the code that was sent to it. The attempt is counted whatever comes of it, so it is
/// no claimed mutation: the same wrong code sent twice is two attempts.
pub(crate) struct VerifyCode {
    pub(crate) flow_id: FlowId,
    pub(crate) code: String,
}

/// A verified address.
pub(crate) struct Verified {
    /// The people who sign in by the address.
    pub(crate) people: Vec<Account>,
    /// The secret that StartSession requires.
    pub(crate) proof: String,
}

impl UnclaimedMutation for VerifyCode {
    type Context = Context;
    type View = Verified;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Act<Verified>, Error> {
        let Run { tx, .. } = run;
        let code = (self.flow_id, self.code.as_str());
        let Some(address) = try_code(run, code, Purpose::SignIn).await? else {
            return Ok(Act::RefusedButKept(Error::code_wrong().into()));
        };
        let proof = proof::new(tx.env());
        storage::update_verified(tx, self.flow_id, &ProofDigest::of(&proof), tx.now()).await?;
        let people = accounts::list_by_address(tx, &address).await?;
        Ok(Act::Done(Verified { people, proof }))
    }
}

/// The outcome of UnlockSignIn.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Unlocked {
    /// Whether the address was locked.
    pub(crate) was_locked: bool,
}

impl Stored for Unlocked {}

/// Lifts the lock of an address on behalf of the operator, who knows the address from its owner.
#[derive(Debug)]
pub(crate) struct UnlockAddress {
    pub(crate) address: Address,
}

impl Mutation for UnlockAddress {
    type Context = Context;
    type Grant = ();
    type Outcome = Unlocked;
    type View = bool;
    type Error = Error;

    /// The access rule of the RPC admits the operator only.
    async fn authorize(&self, _: Run<'_>) -> Result<(), Error> {
        Ok(())
    }

    async fn act(&self, run: Run<'_>, (): &()) -> Result<Unlocked, Error> {
        let Run { context, tx, caller } = run;
        let address = self.address.text();
        let was_locked = limiter::unlock(context, tx, &[address.to_owned()]).await?;
        // The address is personal data; its key says in the log whether it is the same as before.
        let object = format!("signInLocks/{}", limiter::failures_key(context, address));
        parta_audit::record(tx, caller, None, object).await?;
        Ok(Unlocked { was_locked })
    }

    async fn view(&self, _: Run<'_>, (): &(), outcome: &Unlocked) -> Result<bool, Error> {
        Ok(outcome.was_locked)
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcomes_have_their_golden_forms() {
        let requested = Requested {
            flow_id: FlowId::from_uuid(Uuid::from_u128(1)),
            send_time_micros: 5,
        };
        let form = format!(
            "\u{1}{{\"flow_id\":\"{}\",\"send_time_micros\":5}}",
            requested.flow_id
        );
        let stored = requested.encode().unwrap();
        assert_eq!(stored, form.as_bytes());
        assert_eq!(Requested::decode(&stored).unwrap(), requested);
        let unlocked = Unlocked { was_locked: true };
        let stored = unlocked.encode().unwrap();
        assert_eq!(stored, b"\x01{\"was_locked\":true}");
        assert_eq!(Unlocked::decode(&stored).unwrap(), unlocked);
    }
}
