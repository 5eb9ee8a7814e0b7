//! Events of duties in the feed of membership.
use parta_database::{StorageError, Tx};
use parta_ids::{DutyId, OrgId};
use parta_proto::timestamp;
use parta_proto_membership::v1::{
    self as pb, DutyAssigned, DutyEnded, duty_scope::Scope, membership_event::Payload,
};
use parta_roster::DutyScope;

use super::{model::Duty, storage};
use crate::{error::Error, feed::state};

/// The scope as a message of the API.
pub(super) fn scope(scope: &DutyScope) -> pb::DutyScope {
    let scope = match scope {
        DutyScope::Organization => Scope::Organization(true),
        DutyScope::Unit(unit) => Scope::UnitId(unit.to_string()),
        DutyScope::Pupils(pupils) => Scope::Pupils(pb::DutyPupils {
            member_ids: pupils.iter().map(ToString::to_string).collect(),
        }),
    };
    pb::DutyScope { scope: Some(scope) }
}

fn assignment(row: &Duty) -> Payload {
    Payload::DutyAssigned(DutyAssigned {
        duty_id: row.id.to_string(),
        member_id: row.member_id.to_string(),
        kind: pb::DutyKind::from(row.kind).into(),
        scope: Some(scope(&row.scope)),
        begin_time: Some(timestamp(row.create_time)),
    })
}

pub(super) async fn assigned(tx: &Tx, row: &Duty) -> Result<(), Error> {
    state(tx, row.org_id, assignment(row)).await
}

pub(super) async fn ended(tx: &Tx, org: OrgId, id: DutyId) -> Result<(), Error> {
    let ended = DutyEnded {
        duty_id: id.to_string(),
    };
    state(tx, org, Payload::DutyEnded(ended)).await
}

/// Events that establish the present duties from nothing.
pub(crate) async fn snapshot(tx: &Tx, org: OrgId) -> Result<Vec<Payload>, StorageError> {
    let rows = storage::list_current(tx, org).await?;
    Ok(rows.iter().map(assignment).collect())
}
