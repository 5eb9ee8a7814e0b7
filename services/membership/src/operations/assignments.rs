//! Tasks of teachers in units (R25).
use chrono::{DateTime, Utc};
use parta_access::Caller;
use parta_ids::{AssignmentId, MemberId, OrgId, TypedId as _, UnitId};
use parta_proto::parta::membership::v1::{
    AssignmentKind, CreateAssignmentResponse, EndAssignmentResponse, ErrorReason, ListAssignmentsResponse,
};
use parta_roster::{Role, State};
use parta_status::invalid;
use parta_storage::Mutation;

use super::{App, Page};
use crate::{
    error::Error,
    events,
    grpc::convert,
    storage::relations::{self, Assignment},
};

/// A task to be given.
#[derive(Debug, Clone)]
pub(crate) struct NewAssignment {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    pub(crate) unit_id: UnitId,
    pub(crate) kind: AssignmentKind,
    pub(crate) expire_time: Option<DateTime<Utc>>,
}

impl App {
    pub(crate) async fn create_assignment(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        new: &NewAssignment,
    ) -> Result<CreateAssignmentResponse, Error> {
        let org = new.org_id;
        self.db
            .mutate(mutation, |tx| async move {
                let scope = self.managing(&tx, caller, org).await?;
                if new.expire_time.is_some_and(|time| time <= tx.now()) {
                    return Err(invalid("expire_time", "must be in the future").into());
                }
                let facts = self.contexts_of(&tx, org, new.member_id).await?;
                let facts = facts.ok_or_else(|| Error::unknown("member", new.member_id))?;
                if facts.state == State::Left || !facts.roles.contains(&Role::Teacher) {
                    return Err(Error::State(ErrorReason::NotATeacher));
                }
                self.require_unit(&tx, org, new.unit_id).await?;
                for ended in relations::end_expired(&tx, &scope, new.member_id, tx.now()).await? {
                    events::state(&tx, org, events::assignment_ended(ended)).await?;
                }
                let id: AssignmentId = tx.env().id();
                let row = Assignment {
                    org_id: org.uuid(),
                    assignment_id: id.uuid(),
                    member_id: new.member_id.uuid(),
                    unit_id: new.unit_id.uuid(),
                    kind: new.kind.into(),
                    create_time: tx.now(),
                    expire_time: new.expire_time,
                    end_time: None,
                };
                if !relations::insert_assignment(&tx, &scope, &row).await? {
                    return Err(Error::State(ErrorReason::AlreadyAssigned));
                }
                events::state(&tx, org, events::made(&row)).await?;
                parta_audit::record(
                    &tx,
                    caller,
                    Some(org),
                    format!("organizations/{org}/assignments/{id}"),
                )
                .await?;
                let assignment = Some(convert::assignment(&row));
                Ok::<_, Error>(CreateAssignmentResponse {
                    assignment,
                    ..Default::default()
                })
            })
            .await
    }

    pub(crate) async fn end_assignment(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        id: AssignmentId,
    ) -> Result<EndAssignmentResponse, Error> {
        self.db
            .mutate(mutation, |tx| async move {
                let scope = self.managing(&tx, caller, org).await?;
                if !relations::end_assignment(&tx, &scope, id, tx.now()).await? {
                    return Err(Error::unknown("assignment", id));
                }
                events::state(&tx, org, events::assignment_ended(id.uuid())).await?;
                parta_audit::record(
                    &tx,
                    caller,
                    Some(org),
                    format!("organizations/{org}/assignments/{id}"),
                )
                .await?;
                Ok::<_, Error>(EndAssignmentResponse::default())
            })
            .await
    }

    pub(crate) async fn list_assignments(
        &self,
        caller: &Caller,
        org: OrgId,
        unit: Option<UnitId>,
        member: Option<MemberId>,
        page: Page<'_>,
    ) -> Result<ListAssignmentsResponse, Error> {
        let conn = self.db.conn();
        let (scope, _) = self.visible_members(conn, caller, org).await?;
        let mut units = match caller.person() {
            Some(_) => {
                let facts = self.facts(conn, caller, org).await?;
                (!facts.is_staff()).then(|| facts.units())
            }
            None => None,
        };
        if let Some(unit) = unit {
            let visible = units.as_ref().is_none_or(|units| units.contains(&unit));
            units = Some(visible.then_some(unit).into_iter().collect());
        }
        let after = self.db.decode_page(caller, &page.filter, page.token)?;
        let now = self.db.env().now();
        let size = page.size + 1;
        let mut rows =
            relations::list_assignments(conn, &scope, units.as_ref(), member, after, now, size).await?;
        let next_page_token = self.cut(caller, &page, &mut rows, |row| {
            AssignmentId::from_uuid(row.assignment_id)
        });
        Ok(ListAssignmentsResponse {
            assignments: rows.iter().map(convert::assignment).collect(),
            next_page_token,
        })
    }
}
