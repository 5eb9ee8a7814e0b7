//! External systems.
use parta_proto::parta::membership::v1::{self as pb, service_account_service_server::ServiceAccountService};
use parta_storage::Mutation;
use tonic::{Request, Response};

use super::{Answer, convert};
use crate::operations::App;

#[tonic::async_trait]
impl ServiceAccountService for App {
    async fn create_service_account(
        &self,
        request: Request<pb::CreateServiceAccountRequest>,
    ) -> Answer<pb::CreateServiceAccountResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let org = convert::id("org_id", &request.org_id)?;
        let name = convert::text("display_name", &request.display_name, 100)?;
        let permissions = convert::permissions(&request.permissions)?;
        Ok(Response::new(
            self.create_service_account(&caller, &mutation, org, &name, &permissions)
                .await?,
        ))
    }

    async fn revoke_service_account(
        &self,
        request: Request<pb::RevokeServiceAccountRequest>,
    ) -> Answer<pb::RevokeServiceAccountResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let (org, id) = convert::ids(&request.org_id, "service_account_id", &request.service_account_id)?;
        Ok(Response::new(
            self.revoke_service_account(&caller, &mutation, org, id).await?,
        ))
    }

    async fn list_service_accounts(
        &self,
        request: Request<pb::ListServiceAccountsRequest>,
    ) -> Answer<pb::ListServiceAccountsResponse> {
        let (caller, request) = self.enter(request).await?;
        let org = convert::id("org_id", &request.org_id)?;
        let page = convert::page(request.page_size, &request.page_token, request.org_id.clone())?;
        Ok(Response::new(
            self.list_service_accounts(&caller, org, page).await?,
        ))
    }

    async fn issue_service_account_token(
        &self,
        request: Request<pb::IssueServiceAccountTokenRequest>,
    ) -> Answer<pb::IssueServiceAccountTokenResponse> {
        let (caller, request) = self.enter(request).await?;
        let _ = caller;
        Ok(Response::new(
            self.issue_service_account_token(&request.key).await?,
        ))
    }
}
