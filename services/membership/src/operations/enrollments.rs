//! Movement of pupils (R26).
use parta_access::Caller;
use parta_ids::{MemberId, OrgId, UnitId};
use parta_proto::parta::membership::v1::{EnrollPupilResponse, ErrorReason, TransferPupilResponse};
use parta_roster::{Role, State};
use parta_storage::{Mutation, Tx};

use super::{App, admission::enroll};
use crate::{error::Error, events, storage::relations};

impl App {
    async fn require_pupil(&self, tx: &Tx, org: OrgId, member: MemberId) -> Result<(), Error> {
        let facts = self
            .contexts_of(tx, org, member)
            .await?
            .ok_or_else(|| Error::unknown("member", member))?;
        if facts.state == State::Left || !facts.roles.contains(&Role::Pupil) {
            return Err(Error::State(ErrorReason::NotAPupil));
        }
        Ok(())
    }

    pub(crate) async fn enroll_pupil(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        member: MemberId,
        unit: UnitId,
    ) -> Result<EnrollPupilResponse, Error> {
        self.db
            .mutate(mutation, |tx| async move {
                let scope = self.managing(&tx, caller, org).await?;
                self.require_pupil(&tx, org, member).await?;
                self.require_unit(&tx, org, unit).await?;
                let id = enroll(&tx, &scope, member, unit).await?;
                let id = id.ok_or(Error::State(ErrorReason::AlreadyEnrolled))?;
                parta_audit::record(
                    &tx,
                    caller,
                    Some(org),
                    format!("organizations/{org}/enrollments/{id}"),
                )
                .await?;
                Ok::<_, Error>(EnrollPupilResponse {
                    enrollment_id: id.to_string(),
                    ..Default::default()
                })
            })
            .await
    }

    pub(crate) async fn transfer_pupil(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        member: MemberId,
        from: UnitId,
        to: UnitId,
    ) -> Result<TransferPupilResponse, Error> {
        self.db
            .mutate(mutation, |tx| async move {
                let scope = self.managing(&tx, caller, org).await?;
                self.require_pupil(&tx, org, member).await?;
                self.require_unit(&tx, org, to).await?;
                let ended = relations::end_enrollment(&tx, &scope, member, from, tx.now()).await?;
                let ended = ended.ok_or(Error::State(ErrorReason::NotEnrolled))?;
                events::state(&tx, org, events::enrollment_ended(ended)).await?;
                let id = enroll(&tx, &scope, member, to).await?;
                let id = id.ok_or(Error::State(ErrorReason::AlreadyEnrolled))?;
                parta_audit::record(
                    &tx,
                    caller,
                    Some(org),
                    format!("organizations/{org}/enrollments/{id}"),
                )
                .await?;
                Ok::<_, Error>(TransferPupilResponse {
                    enrollment_id: id.to_string(),
                    ..Default::default()
                })
            })
            .await
    }
}
