use chrono::{DateTime, Utc};
use parta_access::Caller;
use parta_database::{StorageError, Tx};
use parta_edge::{Act, Mutation, Stored, UnclaimedMutation};
use parta_ids::FlowId;
use serde::{Deserialize, Serialize};

use super::{
    model::{CODE_LIFE, RESEND},
    proof::{self, ProofDigest},
    storage,
};
use crate::{
    accounts::{self, Account, Address},
    context::Context,
    delivery,
    error::Error,
};

/// Sends a code to an address. Nothing here looks whether the address is known.
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

/// A code that was sent.
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

    /// Anyone may request a code; the limits of the address are part of the act.
    async fn authorize(&self, _: &Context, _: &Tx, _: &Caller) -> Result<(), Error> {
        Ok(())
    }

    async fn act(&self, context: &Context, tx: &Tx, caller: &Caller, (): &()) -> Result<Requested, Error> {
        let (now, address) = (tx.now(), self.address.text());
        let mut counter = storage::lock_counter(tx, address).await?;
        counter
            .send(now)
            .map_err(|(limit, end)| Error::limited(limit, end - now))?;
        storage::update_counter(tx, address, &counter).await?;
        let flow_id: FlowId = tx.env().id();
        storage::insert(tx, flow_id, address, now, now + CODE_LIFE).await?;
        delivery::owe(context, tx, flow_id, &self.address).await?;
        parta_audit::record(tx, caller, None, format!("signInFlows/{flow_id}")).await?;
        Ok(Requested {
            flow_id,
            send_time_micros: now.timestamp_micros(),
        })
    }

    async fn view(&self, _: &Context, _: &Tx, (): &(), outcome: &Requested) -> Result<SentCode, Error> {
        let sent = DateTime::from_timestamp_micros(outcome.send_time_micros)
            .ok_or_else(|| StorageError::Fault("an outcome has a time out of range".into()))?;
        Ok(SentCode {
            flow_id: outcome.flow_id,
            resend_time: sent + RESEND,
            expire_time: sent + CODE_LIFE,
        })
    }
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
    /// What StartSession needs.
    pub(crate) proof: String,
}

impl UnclaimedMutation for VerifyCode {
    type Context = Context;
    type View = Verified;
    type Error = Error;

    async fn run(&self, context: &Context, tx: &Tx, _: &Caller) -> Result<Act<Verified>, Error> {
        let now = tx.now();
        let address = storage::take_attempt(tx, self.flow_id, now).await?;
        let address = address.ok_or_else(Error::flow_unknown)?;
        let mut counter = storage::lock_counter(tx, &address).await?;
        if let Some(until) = counter.block_time.filter(|until| *until > now) {
            let limited = Error::limited("failures", until - now);
            return Ok(Act::RefusedButKept(limited.into()));
        }
        if !delivery::is_code(&context.secrets, self.flow_id, &self.code) {
            counter.fail(now);
            storage::update_counter(tx, &address, &counter).await?;
            return Ok(Act::RefusedButKept(Error::code_wrong().into()));
        }
        (counter.failures, counter.block_time) = (0, None);
        let proof = proof::new(tx.env());
        storage::update_verified(tx, self.flow_id, &ProofDigest::of(&proof), now).await?;
        storage::update_counter(tx, &address, &counter).await?;
        let people = accounts::list_by_address(tx, &address).await?;
        Ok(Act::Done(Verified { people, proof }))
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
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
    }
}
