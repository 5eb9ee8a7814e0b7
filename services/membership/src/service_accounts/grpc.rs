//! `parta.membership.v1.ServiceAccountService`: decodes, calls the edge, encodes.
use std::sync::Arc;

use parta_access::Verifier;
use parta_edge::{Edge, PageRequest};
use parta_proto::timestamp;
use parta_proto_membership::v1::{self as pb, service_account_service_server::ServiceAccountService};
use parta_status::field;
use tonic::{Request, Response, Status};

use super::{
    model::{self, ServiceAccount},
    operations::{CreateServiceAccount, IssueToken, ListServiceAccounts, RevokeServiceAccount},
};
use crate::context::Context;

#[derive(Clone)]
pub(crate) struct ServiceAccounts {
    edge: Edge<Context>,
    /// Refuses the tokens of a revoked account in this process at once; other processes learn it at their
    /// next poll.
    verifier: Arc<Verifier>,
}

impl ServiceAccounts {
    pub(crate) fn new(edge: Edge<Context>, verifier: Arc<Verifier>) -> Self {
        Self { edge, verifier }
    }
}

fn to_proto(account: &ServiceAccount) -> pb::ServiceAccount {
    pb::ServiceAccount {
        id: account.id.to_string(),
        display_name: account.display_name.clone(),
        permissions: account.permissions.iter().cloned().collect(),
        create_time: Some(timestamp(account.create_time)),
    }
}

#[tonic::async_trait]
impl ServiceAccountService for ServiceAccounts {
    async fn create_service_account(
        &self,
        request: Request<pb::CreateServiceAccountRequest>,
    ) -> Result<Response<pb::CreateServiceAccountResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let display_name = field::name(v, "display_name", &r.display_name, 1..=100);
            let permissions = model::permissions(&r.permissions);
            v.check(
                permissions.is_some(),
                "permissions",
                "must be 1 to 20 names like roster.read",
            );
            Some(CreateServiceAccount {
                org_id: org_id?,
                display_name,
                permissions: permissions?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::CreateServiceAccountResponse {
            service_account: Some(to_proto(&done.view.account)),
            key: done.view.key,
            consistency_token: done.consistency_token,
        }))
    }

    async fn revoke_service_account(
        &self,
        request: Request<pb::RevokeServiceAccountRequest>,
    ) -> Result<Response<pb::RevokeServiceAccountResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let service_account_id = field::id(v, "service_account_id", &r.service_account_id);
            Some(RevokeServiceAccount {
                org_id: org_id?,
                service_account_id: service_account_id?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        self.verifier.revoke_service_account(done.view);
        Ok(Response::new(pb::RevokeServiceAccountResponse {
            consistency_token: done.consistency_token,
        }))
    }

    async fn list_service_accounts(
        &self,
        request: Request<pb::ListServiceAccountsRequest>,
    ) -> Result<Response<pb::ListServiceAccountsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, r.org_id.clone());
            Some(ListServiceAccounts {
                org_id: org_id?,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListServiceAccountsResponse {
            service_accounts: page.items.iter().map(to_proto).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn issue_service_account_token(
        &self,
        request: Request<pb::IssueServiceAccountTokenRequest>,
    ) -> Result<Response<pb::IssueServiceAccountTokenResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = IssueToken {
            key: call.request().key.clone(),
        };
        let token = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::IssueServiceAccountTokenResponse {
            access_token: token.text,
            expire_time: Some(timestamp(token.expire_time)),
        }))
    }
}
