//! Signing in by a one-time code (R19, R20).
use parta_access::Caller;
use parta_ids::{AccountId, FlowId, SessionId, TypedId as _};
use parta_proto::parta::membership::v1::{
    AccountProfile, ErrorReason, RequestCodeResponse, StartSessionResponse, VerifyCodeResponse,
};
use parta_storage::Mutation;

use super::model::{Address, CODE_LIFE, RESEND};
use crate::{
    accounts::storage as accounts,
    context::Context,
    delivery::mail as delivery,
    error::Error,
    feed::timestamp,
    sessions::{secret, storage as sessions},
};

/// As whom to sign in.
#[derive(Debug, Clone)]
pub(crate) enum Who {
    Known(AccountId),
    New(String),
}

impl Context {
    /// Sends a code. Nothing here looks whether the address is known: the answer cannot tell.
    pub(crate) async fn request_code(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        address: &Address,
    ) -> Result<RequestCodeResponse, Error> {
        self.db
            .mutate(mutation, |tx| async move {
                let now = tx.now();
                let mut counter = accounts::counter(&tx, address.text()).await?;
                counter.send(now).map_err(|(limit, end)| Error::Limited {
                    limit,
                    wait: (end - now).to_std().unwrap_or_default(),
                })?;
                accounts::update_counter(&tx, address.text(), &counter).await?;
                accounts::delete_old_flows(&tx, now).await?;
                let flow: FlowId = tx.env().id();
                accounts::insert_flow(&tx, flow, address.text(), now, now + CODE_LIFE).await?;
                delivery::owe(&tx, self.delivery, &self.secrets, flow, address).await?;
                parta_audit::record(&tx, caller, None, format!("signInFlows/{flow}")).await?;
                Ok::<_, Error>(RequestCodeResponse {
                    flow_id: flow.to_string(),
                    resend_time: Some(timestamp(now + RESEND)),
                    expire_time: Some(timestamp(now + CODE_LIFE)),
                    ..Default::default()
                })
            })
            .await
    }

    /// Proves an address. What a try uses up is committed whatever comes of it.
    pub(crate) async fn verify_code(&self, flow: FlowId, code: &str) -> Result<VerifyCodeResponse, Error> {
        let right = secret::is_code(&self.secrets, flow, code);
        let outcome = self
            .db
            .write(|tx| async move {
                let Some(address) = accounts::take_try(&tx, flow, tx.now()).await? else {
                    return Ok::<_, Error>(Err(Error::State(ErrorReason::FlowUnknown)));
                };
                let mut counter = accounts::counter(&tx, &address).await?;
                if let Some(until) = counter.block_time.filter(|until| *until > tx.now()) {
                    let wait = (until - tx.now()).to_std().unwrap_or_default();
                    return Ok(Err(Error::Limited {
                        limit: "failures",
                        wait,
                    }));
                }
                if right {
                    (counter.failures, counter.block_time) = (0, None);
                    accounts::update_verified(&tx, flow, tx.now()).await?;
                } else {
                    counter.fail(tx.now());
                }
                accounts::update_counter(&tx, &address, &counter).await?;
                Ok(if right {
                    Ok(address)
                } else {
                    Err(Error::State(ErrorReason::CodeWrong))
                })
            })
            .await?;
        let known = accounts::list_by_address(self.db.conn(), &outcome?).await?;
        let profile = |row: crate::entities::account::Model| AccountProfile {
            account_id: AccountId::from_uuid(row.account_id).to_string(),
            full_name: row.full_name,
        };
        Ok(VerifyCodeResponse {
            profiles: known.into_iter().map(profile).collect(),
        })
    }

    /// Begins a session. The secrets of the answer are derived, so the record of the answer holds none.
    pub(crate) async fn start_session(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        flow: FlowId,
        who: &Who,
    ) -> Result<StartSessionResponse, Error> {
        let mut response = self
            .db
            .mutate(mutation, |tx| async move {
                let session: SessionId = tx.env().id();
                let address = accounts::use_flow(&tx, flow, session.uuid(), tx.now()).await?;
                let address = address.ok_or(Error::State(ErrorReason::FlowUnknown))?;
                let account = match who {
                    Who::Known(account) => {
                        let known = accounts::list_by_address(&tx, &address).await?;
                        if !known.iter().any(|row| row.account_id == account.uuid()) {
                            return Err(Error::unknown("account", account));
                        }
                        *account
                    }
                    Who::New(full_name) => {
                        let account = tx.env().id();
                        accounts::insert(&tx, account, full_name, &address, tx.now()).await?;
                        account
                    }
                };
                sessions::insert(&tx, session, account, tx.now()).await?;
                parta_audit::record(
                    &tx,
                    caller,
                    None,
                    format!("accounts/{account}/sessions/{session}"),
                )
                .await?;
                Ok::<_, Error>(StartSessionResponse {
                    account_id: account.to_string(),
                    session_id: session.to_string(),
                    ..Default::default()
                })
            })
            .await?;
        let ended = || Error::State(ErrorReason::SessionEnded);
        let (Ok(account), Ok(session)) = (response.account_id.parse(), response.session_id.parse()) else {
            return Err(ended());
        };
        // A repeated call gets no token of a session that has ended or gone on since.
        let living = sessions::find(self.db.conn(), session, self.db.env().now()).await?;
        living.filter(|row| row.generation == 1).ok_or_else(ended)?;
        let token = Self::signed(self.issuer.account(account, session))?;
        response.refresh_token = secret::refresh_token(&self.secrets, session, 1);
        response.access_token = token.text;
        response.expire_time = Some(timestamp(token.expire_time));
        Ok(response)
    }
}
