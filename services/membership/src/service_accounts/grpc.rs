//! `parta.membership.v1.ServiceAccountService`: decodes, calls the edge, encodes.
use std::{collections::BTreeSet, sync::Arc};

use parta_access::{ServiceAccountPermission, Verifier};
use parta_edge::{Edge, PageRequest};
use parta_proto::timestamp;
use parta_proto_membership::v1::{self as pb, service_account_service_server::ServiceAccountService};
use parta_status::{FieldViolations, field};
use tonic::{Request, Response, Status};

use super::{
    model::{self, PERMISSIONS, ServiceAccountView, WrongName},
    operations::{
        CreateServiceAccount, GetPermissionCatalog, IssueToken, ListServiceAccounts, Revoke, RotateKey,
    },
};
use crate::context::Context;

#[derive(Clone)]
pub(crate) struct ServiceAccounts {
    edge: Edge<Context>,
    /// Refuses the tokens of a revoked key in this process at once; other processes learn it at their next
    /// poll.
    verifier: Arc<Verifier>,
}

impl ServiceAccounts {
    pub(crate) fn new(edge: Edge<Context>, verifier: Arc<Verifier>) -> Self {
        Self { edge, verifier }
    }
}

fn to_proto(shown: &ServiceAccountView) -> pb::ServiceAccount {
    let key = |key: &model::ServiceAccountKey| pb::ServiceAccountKey {
        id: key.id.to_string(),
        create_time: Some(timestamp(key.create_time)),
        last_use_time: key.last_use_time.map(timestamp),
    };
    let account = &shown.account;
    pb::ServiceAccount {
        id: account.id.to_string(),
        display_name: account.display_name.clone(),
        permissions: account.permissions.iter().map(ToString::to_string).collect(),
        create_time: Some(timestamp(account.create_time)),
        keys: shown.keys.iter().map(key).collect(),
    }
}

/// Reads the permissions of a request. Each wrong name is a violation of its own.
fn permissions(v: &mut FieldViolations, named: &[String]) -> Option<BTreeSet<ServiceAccountPermission>> {
    if !PERMISSIONS.contains(&named.len()) {
        v.add("permissions", "must be 1 to 20 names of the catalog");
        return None;
    }
    match model::permissions(named) {
        Ok(permissions) => Some(permissions),
        Err(wrong) => {
            for (index, why) in wrong {
                let why = match why {
                    WrongName::Unknown => "is not in the catalog: see GetPermissionCatalog",
                    WrongName::Repeated => "must be named once",
                };
                v.add(format!("permissions[{index}]"), why);
            }
            None
        }
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
            let permissions = permissions(v, &r.permissions);
            Some(CreateServiceAccount {
                org_id: org_id?,
                display_name,
                permissions: permissions?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::CreateServiceAccountResponse {
            service_account: Some(to_proto(&done.view.shown)),
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
            Some(Revoke {
                org_id: org_id?,
                service_account_id: service_account_id?,
                key_id: None,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        self.verifier.revoke_service_account_keys(done.view);
        Ok(Response::new(pb::RevokeServiceAccountResponse {
            consistency_token: done.consistency_token,
        }))
    }

    async fn rotate_service_account_key(
        &self,
        request: Request<pb::RotateServiceAccountKeyRequest>,
    ) -> Result<Response<pb::RotateServiceAccountKeyResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let service_account_id = field::id(v, "service_account_id", &r.service_account_id);
            Some(RotateKey {
                org_id: org_id?,
                service_account_id: service_account_id?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::RotateServiceAccountKeyResponse {
            service_account: Some(to_proto(&done.view.shown)),
            key_id: done.view.key_id.to_string(),
            key: done.view.key,
            consistency_token: done.consistency_token,
        }))
    }

    async fn revoke_service_account_key(
        &self,
        request: Request<pb::RevokeServiceAccountKeyRequest>,
    ) -> Result<Response<pb::RevokeServiceAccountKeyResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let service_account_id = field::id(v, "service_account_id", &r.service_account_id);
            let key_id = field::id(v, "key_id", &r.key_id);
            Some(Revoke {
                org_id: org_id?,
                service_account_id: service_account_id?,
                key_id: Some(key_id?),
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        self.verifier.revoke_service_account_keys(done.view);
        Ok(Response::new(pb::RevokeServiceAccountKeyResponse {
            consistency_token: done.consistency_token,
        }))
    }

    async fn get_permission_catalog(
        &self,
        request: Request<pb::GetPermissionCatalogRequest>,
    ) -> Result<Response<pb::GetPermissionCatalogResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            Some(GetPermissionCatalog { org_id: org_id? })
        })?;
        let catalog = self.edge.query(&call, &query).await?;
        let permission = |permission: &ServiceAccountPermission| {
            let (english, russian) = permission.description();
            pb::ServiceAccountPermission {
                name: permission.name().to_owned(),
                description_en: english.to_owned(),
                description_ru: russian.to_owned(),
            }
        };
        Ok(Response::new(pb::GetPermissionCatalogResponse {
            permissions: catalog.iter().map(permission).collect(),
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
        let issued = self.edge.query(&call, &query).await?;
        if let Some(to_record) = &issued.to_record {
            self.edge.mutate_unclaimed(&call, to_record).await?;
        }
        Ok(Response::new(pb::IssueServiceAccountTokenResponse {
            access_token: issued.token.text,
            expire_time: Some(timestamp(issued.token.expire_time)),
        }))
    }
}
