use parta_ids::{OrgId, UnitId};
use parta_proto::parta::org_registry::v1::{self as pb, UnitKind, unit_service_server::UnitService};
use parta_status::{FieldViolations, field};
use parta_storage::{Mutation, page_size};
use tonic::{Request, Response};

use super::storage::Filter;
use crate::{
    context::App,
    convert,
    grpc::{Answer, checked, ids},
    queries::Page,
};

#[tonic::async_trait]
impl UnitService for App {
    async fn create_unit(&self, request: Request<pb::CreateUnitRequest>) -> Answer<pb::CreateUnitResponse> {
        let (caller, request) = self.enter(request).await?;
        let mut v = FieldViolations::default();
        let org = field::id::<OrgId>(&mut v, "org_id", &request.org_id);
        let kind = convert::made_kind(&mut v, request.kind);
        let label = field::text(&mut v, "label", &request.label, 1..=64, false);
        let org = checked(v, org)?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            self.create_unit(&caller, &mutation, org, kind, &label).await?,
        ))
    }

    async fn get_unit(&self, request: Request<pb::GetUnitRequest>) -> Answer<pb::GetUnitResponse> {
        let (caller, request) = self.enter(request).await?;
        let (org, unit) = ids::<OrgId, UnitId>(("org_id", &request.org_id), ("unit_id", &request.unit_id))?;
        Ok(Response::new(self.get_unit(&caller, org, unit).await?))
    }

    async fn list_units(&self, request: Request<pb::ListUnitsRequest>) -> Answer<pb::ListUnitsResponse> {
        let (caller, request) = self.enter(request).await?;
        let mut v = FieldViolations::default();
        let org = field::id::<OrgId>(&mut v, "org_id", &request.org_id);
        let kind = UnitKind::try_from(request.kind);
        v.check(kind.is_ok(), "kind", "must be one of the kinds");
        let org = checked(v, org)?;
        let filter = Filter {
            kind: kind.ok().filter(|kind| *kind != UnitKind::Unspecified),
            include_archived: request.include_archived,
            only: None,
        };
        let page = Page {
            size: page_size(request.page_size)?,
            token: &request.page_token,
            filter: format!(
                "units/{}/{}/{}",
                request.org_id, request.kind, request.include_archived
            ),
        };
        Ok(Response::new(self.list_units(&caller, org, filter, page).await?))
    }

    async fn rename_unit(&self, request: Request<pb::RenameUnitRequest>) -> Answer<pb::RenameUnitResponse> {
        let (caller, request) = self.enter(request).await?;
        let mut v = FieldViolations::default();
        let org = field::id::<OrgId>(&mut v, "org_id", &request.org_id);
        let unit = field::id::<UnitId>(&mut v, "unit_id", &request.unit_id);
        let label = field::text(&mut v, "label", &request.label, 1..=64, false);
        let (org, unit) = checked(v, org.zip(unit))?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            self.rename_unit(&caller, &mutation, org, unit, &label, &request.etag)
                .await?,
        ))
    }

    async fn archive_unit(
        &self,
        request: Request<pb::ArchiveUnitRequest>,
    ) -> Answer<pb::ArchiveUnitResponse> {
        let (caller, request) = self.enter(request).await?;
        let (org, unit) = ids::<OrgId, UnitId>(("org_id", &request.org_id), ("unit_id", &request.unit_id))?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            self.archive_unit(&caller, &mutation, org, unit, &request.etag)
                .await?,
        ))
    }
}
