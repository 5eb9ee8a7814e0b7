//! Guardians and children.
use parta_proto::parta::membership::v1::{self as pb, guardianship_service_server::GuardianshipService};
use parta_storage::Mutation;
use tonic::{Request, Response};

use super::{Answer, convert};
use crate::operations::App;

#[tonic::async_trait]
impl GuardianshipService for App {
    async fn list_guardianships(
        &self,
        request: Request<pb::ListGuardianshipsRequest>,
    ) -> Answer<pb::ListGuardianshipsResponse> {
        let (caller, request) = self.enter(request).await?;
        let org = convert::id("org_id", &request.org_id)?;
        let child = convert::optional_id("child_id", &request.child_id)?;
        let page = convert::page(
            request.page_size,
            &request.page_token,
            format!("{org}/{}/{}", request.child_id, request.pending_only),
        )?;
        Ok(Response::new(
            self.list_guardianships(&caller, org, child, request.pending_only, page)
                .await?,
        ))
    }

    async fn confirm_guardianship(
        &self,
        request: Request<pb::ConfirmGuardianshipRequest>,
    ) -> Answer<pb::ConfirmGuardianshipResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let (org, id) = convert::ids(&request.org_id, "guardianship_id", &request.guardianship_id)?;
        Ok(Response::new(
            self.confirm_guardianship(&caller, &mutation, org, id).await?,
        ))
    }

    async fn end_guardianship(
        &self,
        request: Request<pb::EndGuardianshipRequest>,
    ) -> Answer<pb::EndGuardianshipResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let (org, id) = convert::ids(&request.org_id, "guardianship_id", &request.guardianship_id)?;
        let cause = convert::text("cause", &request.cause, 500)?;
        Ok(Response::new(
            self.end_guardianship(&caller, &mutation, org, id, &cause).await?,
        ))
    }
}
