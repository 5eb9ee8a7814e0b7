//! External systems (R30), and what the operator of a development installation sees.
use parta_access::{Caller, authorize};
use parta_ids::{OrgId, ServiceAccountId, TypedId as _};
use parta_proto::parta::membership::v1::{
    CreateServiceAccountResponse, ErrorReason, IssueServiceAccountTokenResponse, ListOutboxMessagesResponse,
    ListServiceAccountsResponse, OutboxMessage, RevokeServiceAccountResponse, ServiceAccountRevoked,
    membership_event::Payload,
};
use parta_storage::Mutation;

use super::{App, Page};
use crate::{
    config::DeliveryKind,
    error::Error,
    events::{self, timestamp},
    grpc::convert,
    policy, secret,
    storage::{outbox, service_accounts},
};

impl App {
    pub(crate) async fn create_service_account(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        display_name: &str,
        permissions: &[String],
    ) -> Result<CreateServiceAccountResponse, Error> {
        let mut response = self
            .db
            .mutate(mutation, |tx| async move {
                let facts = self.facts(&tx, caller, org).await?;
                let scope = authorize(caller, org, policy::administer(&facts))?;
                let id: ServiceAccountId = tx.env().id();
                let digest = secret::key_digest(&secret::service_key(&self.secrets, id));
                let now = tx.now();
                let row =
                    service_accounts::insert(&tx, &scope, id, display_name, permissions, digest, now).await?;
                parta_audit::record(
                    &tx,
                    caller,
                    Some(org),
                    format!("organizations/{org}/serviceAccounts/{id}"),
                )
                .await?;
                let service_account = Some(convert::service_account(&row));
                Ok::<_, Error>(CreateServiceAccountResponse {
                    service_account,
                    ..Default::default()
                })
            })
            .await?;
        // Derived, so that a repeated call answers it again and no record holds it.
        let id = response
            .service_account
            .as_ref()
            .and_then(|account| account.id.parse().ok());
        response.key = id
            .map(|id| secret::service_key(&self.secrets, id))
            .unwrap_or_default();
        Ok(response)
    }

    pub(crate) async fn revoke_service_account(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        id: ServiceAccountId,
    ) -> Result<RevokeServiceAccountResponse, Error> {
        let response = self
            .db
            .mutate(mutation, |tx| async move {
                let facts = self.facts(&tx, caller, org).await?;
                let scope = authorize(caller, org, policy::administer(&facts))?;
                if !service_accounts::update_revoked(&tx, &scope, id, tx.now()).await? {
                    return Err(Error::unknown("service account", id));
                }
                let revoked = ServiceAccountRevoked {
                    service_account_id: id.to_string(),
                };
                events::state(&tx, org, Payload::ServiceAccountRevoked(revoked)).await?;
                parta_audit::record(
                    &tx,
                    caller,
                    Some(org),
                    format!("organizations/{org}/serviceAccounts/{id}"),
                )
                .await?;
                Ok::<_, Error>(RevokeServiceAccountResponse::default())
            })
            .await?;
        self.verifier.revoke_service_account(id);
        Ok(response)
    }

    pub(crate) async fn list_service_accounts(
        &self,
        caller: &Caller,
        org: OrgId,
        page: Page<'_>,
    ) -> Result<ListServiceAccountsResponse, Error> {
        let facts = self.facts(self.db.conn(), caller, org).await?;
        let scope = authorize(caller, org, policy::administer(&facts))?;
        let after = self.db.decode_page(caller, &page.filter, page.token)?;
        let mut rows = service_accounts::list(self.db.conn(), &scope, after, page.size + 1).await?;
        let key =
            |row: &service_accounts::ServiceAccount| ServiceAccountId::from_uuid(row.service_account_id);
        let next_page_token = self.cut(caller, &page, &mut rows, key);
        let service_accounts = rows.iter().map(convert::service_account).collect();
        Ok(ListServiceAccountsResponse {
            service_accounts,
            next_page_token,
        })
    }

    pub(crate) async fn issue_service_account_token(
        &self,
        key: &str,
    ) -> Result<IssueServiceAccountTokenResponse, Error> {
        let found = service_accounts::find_by_key(self.db.conn(), secret::key_digest(key)).await?;
        let row = found.ok_or(Error::State(ErrorReason::ServiceAccountKeyInvalid))?;
        let permissions = row.permissions.split(' ').map(str::to_owned).collect();
        let (org, id) = (
            OrgId::from_uuid(row.org_id),
            ServiceAccountId::from_uuid(row.service_account_id),
        );
        let token = Self::signed(self.issuer.service_account(org, id, permissions))?;
        let expire_time = Some(timestamp(token.expire_time));
        Ok(IssueServiceAccountTokenResponse {
            access_token: token.text,
            expire_time,
        })
    }

    pub(crate) async fn list_outbox(
        &self,
        caller: &Caller,
        recipient: &str,
        page: Page<'_>,
    ) -> Result<ListOutboxMessagesResponse, Error> {
        if self.delivery != DeliveryKind::Outbox {
            return Err(Error::State(ErrorReason::OutboxAbsent));
        }
        let after = self.db.decode_page(caller, &page.filter, page.token)?;
        let mut rows = outbox::list(self.db.conn(), recipient, after, page.size + 1).await?;
        let next_page_token = self.cut(caller, &page, &mut rows, |row| row.message_id);
        let message = |row: outbox::Message| OutboxMessage {
            recipient: row.recipient,
            text: row.text,
            create_time: Some(timestamp(row.create_time)),
        };
        Ok(ListOutboxMessagesResponse {
            messages: rows.into_iter().map(message).collect(),
            next_page_token,
        })
    }
}
