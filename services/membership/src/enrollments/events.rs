//! Events of enrollments in the feed of membership.
use parta_database::{StorageError, Tx};
use parta_ids::{EnrollmentId, OrgId};
use parta_proto::timestamp;
use parta_proto_membership::v1::{EnrollmentBegun, EnrollmentEnded, membership_event::Payload};

use super::{model::Enrollment, storage};
use crate::{
    error::Error,
    feed::{state, states},
};

fn beginning(row: &Enrollment) -> Payload {
    Payload::EnrollmentBegun(EnrollmentBegun {
        enrollment_id: row.id.to_string(),
        member_id: row.member_id.to_string(),
        unit_id: row.unit_id.to_string(),
        begin_time: Some(timestamp(row.create_time)),
    })
}

pub(super) async fn all_begun(tx: &Tx, org: OrgId, rows: &[Enrollment]) -> Result<(), Error> {
    states(tx, org, rows.iter().map(beginning).collect()).await
}

pub(super) async fn ended(tx: &Tx, org: OrgId, id: EnrollmentId) -> Result<(), Error> {
    let ended = EnrollmentEnded {
        enrollment_id: id.to_string(),
    };
    state(tx, org, Payload::EnrollmentEnded(ended)).await
}

/// Events that establish the present enrollments from nothing.
pub(crate) async fn snapshot(tx: &Tx, org: OrgId) -> Result<Vec<Payload>, StorageError> {
    let rows = storage::list_current(tx, org).await?;
    Ok(rows.iter().map(beginning).collect())
}
