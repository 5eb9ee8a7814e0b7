//! `parta.org_registry.v1.UnitService`: decodes requests, calls the edge, and encodes responses.
use parta_edge::{Edge, PageRequest};
use parta_mutations::etag;
use parta_proto::timestamp;
use parta_proto_org_registry::v1::{self as pb, unit_service_server::UnitService};
use parta_status::{FieldViolations, field};
use tonic::{Request, Response, Status};

use super::{
    model::{Unit, UnitKind},
    operations::{ArchiveUnit, CreateUnit, GetUnit, ListUnits, RenameUnit},
};
use crate::context::Context;

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Units {
    edge: Edge<Context>,
}

impl Units {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

fn to_proto(from: &Unit) -> pb::Unit {
    pb::Unit {
        id: from.id.to_string(),
        org_id: from.org_id.to_string(),
        kind: from.kind.number(),
        label: from.label.clone(),
        create_time: Some(timestamp(from.create_time)),
        archive_time: from.archive_time.map(timestamp),
        etag: etag(from.revision),
    }
}

fn label(v: &mut FieldViolations, from: &str) -> String {
    field::name(v, "label", from, 1..=64)
}

/// Decodes the kind of a unit that people create.
fn new_kind(v: &mut FieldViolations, number: i32) -> Option<UnitKind> {
    let kind = UnitKind::from_number(number).filter(|kind| *kind != UnitKind::StaffRoom);
    v.check(kind.is_some(), "kind", "must be CLASS, GROUP or DEPARTMENT");
    kind
}

#[tonic::async_trait]
impl UnitService for Units {
    async fn create_unit(
        &self,
        request: Request<pb::CreateUnitRequest>,
    ) -> Result<Response<pb::CreateUnitResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let kind = new_kind(v, r.kind);
            let label = label(v, &r.label);
            Some(CreateUnit {
                org_id: org_id?,
                kind: kind?,
                label,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::CreateUnitResponse {
            unit: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn get_unit(
        &self,
        request: Request<pb::GetUnitRequest>,
    ) -> Result<Response<pb::GetUnitResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let unit_id = field::id(v, "unit_id", &r.unit_id);
            Some(GetUnit {
                org_id: org_id?,
                unit_id: unit_id?,
            })
        })?;
        let unit = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::GetUnitResponse {
            unit: Some(to_proto(&unit)),
        }))
    }

    async fn list_units(
        &self,
        request: Request<pb::ListUnitsRequest>,
    ) -> Result<Response<pb::ListUnitsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let kind = UnitKind::from_number(r.kind);
            v.check(kind.is_some() || r.kind == 0, "kind", "must be one of the kinds");
            let filter = format!("units/{}/{}/{}", r.org_id, r.kind, r.include_archived);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, filter);
            Some(ListUnits {
                org_id: org_id?,
                kind,
                include_archived: r.include_archived,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListUnitsResponse {
            units: page.items.iter().map(to_proto).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn rename_unit(
        &self,
        request: Request<pb::RenameUnitRequest>,
    ) -> Result<Response<pb::RenameUnitResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let unit_id = field::id(v, "unit_id", &r.unit_id);
            let label = label(v, &r.label);
            Some(RenameUnit {
                org_id: org_id?,
                unit_id: unit_id?,
                label,
                etag: r.etag.clone(),
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::RenameUnitResponse {
            unit: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn archive_unit(
        &self,
        request: Request<pb::ArchiveUnitRequest>,
    ) -> Result<Response<pb::ArchiveUnitResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let unit_id = field::id(v, "unit_id", &r.unit_id);
            Some(ArchiveUnit {
                org_id: org_id?,
                unit_id: unit_id?,
                etag: r.etag.clone(),
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::ArchiveUnitResponse {
            unit: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }
}
