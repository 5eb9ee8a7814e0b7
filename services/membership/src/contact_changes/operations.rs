use parta_database::StorageError;
use parta_edge::{Act, Mutation, UnclaimedMutation};
use parta_ids::{AccountId, FlowId, SessionId};
use parta_status::invalid;

use super::storage;
use crate::{
    accounts::{self, Address},
    context::{Context, Run},
    delivery::Purpose,
    error::Error,
    sessions,
    sign_in::{self, Requested, SentCode},
};

/// Sends a code to the present address of the caller, and one to the new address.
#[derive(Debug)]
pub(crate) struct RequestContactChange {
    pub(crate) address: Address,
}

impl RequestContactChange {
    /// Refuses the address by which the person signs in already.
    fn require_another(&self, present: &[String]) -> Result<(), Error> {
        let address = self.address.text();
        if !present.iter().any(|known| known == address) {
            return Ok(());
        }
        let field = match self.address {
            Address::Phone(_) => "phone",
            Address::Email(_) => "email",
        };
        Err(invalid(field, "must differ from the present address").into())
    }
}

impl Mutation for RequestContactChange {
    type Context = Context;
    type Grant = AccountId;
    type Outcome = Requested;
    type View = SentCode;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<AccountId, Error> {
        let (account, _) = sessions::signed_in(run.tx, run.caller).await?;
        Ok(account)
    }

    async fn act(&self, run: Run<'_>, account: &AccountId) -> Result<Requested, Error> {
        let Run { tx, caller, .. } = run;
        accounts::lock(tx, *account).await?;
        let addresses = accounts::addresses(tx, *account).await?;
        self.require_another(&addresses)?;
        let present = addresses.first().and_then(|text| Address::from_stored(text));
        let present = present.ok_or_else(|| StorageError::Fault("an account has no valid address".into()))?;
        let purpose = Purpose::ContactChange;
        let old = sign_in::send_code(run, &present, purpose).await?;
        let new = sign_in::send_code(run, &self.address, purpose).await?;
        storage::upsert(tx, *account, new.flow_id(), old.flow_id(), tx.now()).await?;
        let object = format!("accounts/{account}/contactChanges/{}", new.flow_id());
        parta_audit::record(tx, caller, None, object).await?;
        Ok(new)
    }

    async fn view(&self, _: Run<'_>, _: &AccountId, outcome: &Requested) -> Result<SentCode, Error> {
        outcome.sent()
    }
}

/// Replaces the address of the caller after a code to each address. The attempts are counted whatever comes
/// of them, so it is no claimed mutation.
pub(crate) struct ConfirmContactChange {
    pub(crate) flow_id: FlowId,
    pub(crate) present_code: String,
    pub(crate) new_code: String,
}

impl UnclaimedMutation for ConfirmContactChange {
    type Context = Context;
    /// The ids under which the sessions that ended are known.
    type View = Vec<SessionId>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Act<Vec<SessionId>>, Error> {
        let Run { tx, caller, .. } = run;
        let (account, session) = sessions::signed_in(tx, caller).await?;
        accounts::lock(tx, account).await?;
        let change = storage::find(tx, account).await?;
        let change = change.filter(|change| change.flow_id == self.flow_id);
        let change = change.ok_or_else(Error::change_unknown)?;
        if change.is_confirmed {
            return Ok(Act::Done(Vec::new()));
        }
        let attempt = async |flow: FlowId, code: &str| {
            sign_in::try_code(run, (flow, code), Purpose::ContactChange).await
        };
        let present = attempt(change.present_flow_id, &self.present_code).await?;
        let new = attempt(change.flow_id, &self.new_code).await?;
        let (Some(_), Some(address)) = (&present, &new) else {
            let refusal = Error::codes_wrong(present.is_none(), new.is_none());
            return Ok(Act::RefusedButKept(refusal.into()));
        };
        accounts::replace_address(tx, account, address, tx.now()).await?;
        storage::update_confirmed(tx, account, tx.now()).await?;
        let ended = sessions::end_others(run, account, session).await?;
        parta_audit::record(tx, caller, None, format!("accounts/{account}/address")).await?;
        Ok(Act::Done(ended))
    }
}
