//! Sessions, and the tokens that a signed-in person gets (R28, R29).
use parta_access::{Caller, Decision, authorize};
use parta_ids::{AccountId, FlowId, OrgId, SessionId, TypedId as _, Uuid};
use parta_proto::parta::membership::v1::{
    CreateJoinTicketResponse, EndSessionResponse, ErrorReason, IssueOrganizationTokenResponse,
    ListMembershipsResponse, ListSessionsResponse, Membership, RefreshSessionResponse, Session,
    SessionRevoked, membership_event::Payload,
};
use parta_roster::State;
use parta_status::not_found;
use parta_storage::{Mutation, StorageError, Tx};

use super::{secret, storage as sessions};
use crate::{
    accounts::storage as accounts,
    context::{Context, Page},
    error::Error,
    feed::{self as events, timestamp},
    member_records::{events::roles, storage as members},
    sign_in::model::REPLAY,
};

impl Context {
    /// Rotates the refresh token. An old one that comes back was copied: the session ends.
    pub(crate) async fn refresh_session(
        &self,
        caller: &Caller,
        request: Uuid,
        token: &str,
    ) -> Result<RefreshSessionResponse, Error> {
        let ended = || Error::State(ErrorReason::SessionEnded);
        let (session, generation) = secret::read_refresh_token(&self.secrets, token).ok_or_else(ended)?;
        // Not by the idempotency record: that would answer for days, and would keep the next token.
        let renewed = self
            .db
            .write(|tx| async move {
                let Some(row) = sessions::lock(&tx, session, tx.now()).await? else {
                    return Ok::<_, Error>(None);
                };
                let account = AccountId::from_uuid(row.account_id);
                if generation == row.generation {
                    sessions::update_rotated(&tx, &row, request, tx.now()).await?;
                    return Ok(Some((account, generation + 1)));
                }
                let lost = generation + 1 == row.generation
                    && row.refresh_request == Some(request)
                    && tx.now() - row.refresh_time <= REPLAY;
                if lost {
                    return Ok(Some((account, row.generation)));
                }
                parta_audit::record(
                    &tx,
                    caller,
                    None,
                    format!("accounts/{account}/sessions/{session}"),
                )
                .await?;
                self.end(&tx, account, session).await?;
                Ok(None)
            })
            .await?;
        let Some((account, generation)) = renewed else {
            self.verifier.revoke_session(session);
            return Err(ended());
        };
        let token = Self::signed(self.issuer.account(account, session))?;
        Ok(RefreshSessionResponse {
            refresh_token: secret::refresh_token(&self.secrets, session, generation),
            access_token: token.text,
            expire_time: Some(timestamp(token.expire_time)),
            ..Default::default()
        })
    }

    /// Ends a session and tells every organization of the person the id by which it knows the session.
    async fn end(&self, tx: &Tx, account: AccountId, session: SessionId) -> Result<(), Error> {
        sessions::update_ended(tx, session, tx.now()).await?;
        for org in members::orgs_of_account(tx, account).await? {
            let theirs = secret::pairwise_session(&self.secrets, session, org);
            let revoked = SessionRevoked {
                session_id: theirs.to_string(),
            };
            events::state(tx, org, Payload::SessionRevoked(revoked)).await?;
        }
        Ok(())
    }

    pub(crate) async fn end_session(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        session: Option<SessionId>,
    ) -> Result<EndSessionResponse, Error> {
        let (account, own) = self.account(self.db.conn(), caller).await?;
        let session = session.unwrap_or(own);
        let response = self
            .db
            .mutate(mutation, |tx| async move {
                let row = sessions::lock(&tx, session, tx.now()).await?;
                row.filter(|row| row.account_id == account.uuid())
                    .ok_or_else(|| Error::unknown("session", session))?;
                self.end(&tx, account, session).await?;
                parta_audit::record(
                    &tx,
                    caller,
                    None,
                    format!("accounts/{account}/sessions/{session}"),
                )
                .await?;
                Ok::<_, Error>(EndSessionResponse::default())
            })
            .await?;
        self.verifier.revoke_session(session);
        for org in members::orgs_of_account(self.db.conn(), account).await? {
            self.verifier
                .revoke_session(secret::pairwise_session(&self.secrets, session, org));
        }
        Ok(response)
    }

    pub(crate) async fn list_sessions(
        &self,
        caller: &Caller,
        page: Page<'_>,
    ) -> Result<ListSessionsResponse, Error> {
        let (account, own) = self.account(self.db.conn(), caller).await?;
        let after = self.db.decode_page(caller, &page.filter, page.token)?;
        let now = self.db.env().now();
        let mut rows = sessions::list(self.db.conn(), account, now, after, page.size + 1).await?;
        let next_page_token = self.cut(caller, &page, &mut rows, |row| {
            SessionId::from_uuid(row.session_id)
        });
        let session = |row: sessions::Session| Session {
            id: SessionId::from_uuid(row.session_id).to_string(),
            create_time: Some(timestamp(row.create_time)),
            refresh_time: Some(timestamp(row.refresh_time)),
            current: row.session_id == own.uuid(),
        };
        Ok(ListSessionsResponse {
            sessions: rows.into_iter().map(session).collect(),
            next_page_token,
        })
    }

    pub(crate) async fn issue_organization_token(
        &self,
        caller: &Caller,
        org: OrgId,
    ) -> Result<IssueOrganizationTokenResponse, Error> {
        let (account, session) = self.account(self.db.conn(), caller).await?;
        let scope = authorize(caller, org, Decision::Allow)?;
        let member = members::find_by_account(self.db.conn(), &scope, account)
            .await?
            .filter(|member| member.state == State::Active)
            .ok_or_else(|| not_found("organization", org))?;
        let member = member.id;
        let theirs = secret::pairwise_session(&self.secrets, session, org);
        let token = Self::signed(self.issuer.person(org, member, theirs))?;
        Ok(IssueOrganizationTokenResponse {
            access_token: token.text,
            expire_time: Some(timestamp(token.expire_time)),
            member_id: member.to_string(),
        })
    }

    pub(crate) async fn create_join_ticket(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        link: &str,
    ) -> Result<CreateJoinTicketResponse, Error> {
        let (account, _) = self.account(self.db.conn(), caller).await?;
        let flow: FlowId = secret::join_flow(&self.secrets, account, link);
        let mut response = self
            .db
            .mutate(mutation, |tx| async move {
                accounts::put_join_flow(&tx, flow, account, tx.now()).await?;
                parta_audit::record(&tx, caller, None, format!("joinFlows/{flow}")).await?;
                Ok::<_, Error>(CreateJoinTicketResponse {
                    flow_id: flow.to_string(),
                    ..Default::default()
                })
            })
            .await?;
        let token = Self::signed(self.issuer.joiner(flow))?;
        response.ticket = token.text;
        response.expire_time = Some(timestamp(token.expire_time));
        Ok(response)
    }

    /// Lists where the person is a member. A membership whose row holds a value that this build does not know
    /// is left out with a WARN: the message has no field that could say so, and the others stay usable.
    pub(crate) async fn list_memberships(
        &self,
        caller: &Caller,
        page: Page<'_>,
    ) -> Result<ListMembershipsResponse, Error> {
        let (account, _) = self.account(self.db.conn(), caller).await?;
        let after = self.db.decode_page(caller, &page.filter, page.token)?;
        let mut rows = members::list_of_account(self.db.conn(), account, after, page.size + 1).await?;
        let next_page_token = self.cut(caller, &page, &mut rows, |(org, _)| *org);
        let mut memberships = Vec::with_capacity(rows.len());
        for (org, row) in rows {
            let row = match row {
                Ok(row) => row,
                Err(StorageError::UnknownValue { column, value }) => {
                    tracing::warn!(%org, column, value, "a membership was left out of a list");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let known = self.roster.organization(self.db.conn(), org).await?;
            memberships.push(Membership {
                org_id: org.to_string(),
                organization_display_name: known.map(|o| o.display_name).unwrap_or_default(),
                member_id: row.id.to_string(),
                roles: roles(&row),
            });
        }
        Ok(ListMembershipsResponse {
            memberships,
            next_page_token,
        })
    }
}
