//! Guardians and children (R27).
use std::collections::BTreeSet;

use parta_access::{Caller, Decision, OrgScope, authorize};
use parta_ids::{GuardianshipId, MemberId, OrgId, TypedId as _};
use parta_proto::parta::membership::v1::{
    ConfirmGuardianshipResponse, EndGuardianshipResponse, GuardianshipChanged, ListGuardianshipsResponse,
    membership_event::Payload,
};
use parta_storage::{Mutation, Tx};

use super::{App, Page};
use crate::{
    error::Error,
    events,
    grpc::convert,
    policy,
    storage::relations::{self, Guardianship, Whose},
};

impl App {
    /// Loads a relation for whoever decides about it; to who may not even see it there is none.
    async fn decided(
        &self,
        tx: &Tx,
        caller: &Caller,
        org: OrgId,
        id: GuardianshipId,
    ) -> Result<(OrgScope, Guardianship), Error> {
        let facts = self.facts(tx, caller, org).await?;
        let scope = authorize(caller, org, Decision::Allow)?;
        let unknown = || Error::unknown("guardianship", id);
        let row = relations::lock_guardianship(tx, &scope, id)
            .await?
            .ok_or_else(unknown)?;
        let child = self
            .contexts_of(tx, org, MemberId::from_uuid(row.child_id))
            .await?
            .ok_or_else(unknown)?;
        if !policy::see_guardianship(&facts, MemberId::from_uuid(row.guardian_id), &child) {
            return Err(unknown());
        }
        // Nobody decides about being a parent.
        let own = row.guardian_id == facts.member_id.uuid() && !facts.is_administration();
        let decision = policy::decide_guardianship(&facts, &child);
        let decision = if own {
            Decision::allow_if(false, "nobody decides about the own relation")
        } else {
            decision
        };
        Ok((authorize(caller, org, decision)?, row))
    }

    pub(crate) async fn confirm_guardianship(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        id: GuardianshipId,
    ) -> Result<ConfirmGuardianshipResponse, Error> {
        self.db
            .mutate(mutation, |tx| async move {
                let (scope, mut row) = self.decided(&tx, caller, org, id).await?;
                if !row.confirmed {
                    row.confirmed = true;
                    relations::update_guardianship(&tx, &scope, &row).await?;
                    let changed = GuardianshipChanged {
                        guardianship_id: id.to_string(),
                        confirmed: true,
                    };
                    events::state(&tx, org, Payload::GuardianshipChanged(changed)).await?;
                    parta_audit::record(
                        &tx,
                        caller,
                        Some(org),
                        format!("organizations/{org}/guardianships/{id}"),
                    )
                    .await?;
                }
                let guardianship = Some(convert::guardianship(&row));
                Ok::<_, Error>(ConfirmGuardianshipResponse {
                    guardianship,
                    ..Default::default()
                })
            })
            .await
    }

    pub(crate) async fn end_guardianship(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        id: GuardianshipId,
        cause: &str,
    ) -> Result<EndGuardianshipResponse, Error> {
        self.db
            .mutate(mutation, |tx| async move {
                let (scope, mut row) = self.decided(&tx, caller, org, id).await?;
                (row.end_time, row.end_cause) = (Some(tx.now()), Some(cause.to_owned()));
                relations::update_guardianship(&tx, &scope, &row).await?;
                events::state(&tx, org, events::guardianship_ended(row.guardianship_id)).await?;
                parta_audit::record(
                    &tx,
                    caller,
                    Some(org),
                    format!("organizations/{org}/guardianships/{id}"),
                )
                .await?;
                Ok::<_, Error>(EndGuardianshipResponse::default())
            })
            .await
    }

    pub(crate) async fn list_guardianships(
        &self,
        caller: &Caller,
        org: OrgId,
        child: Option<MemberId>,
        pending_only: bool,
        page: Page<'_>,
    ) -> Result<ListGuardianshipsResponse, Error> {
        let conn = self.db.conn();
        let facts = self.facts(conn, caller, org).await?;
        let scope = &authorize(caller, org, Decision::Allow)?;
        let whose = if facts.is_administration() {
            Whose::Everybodys
        } else {
            let mut children = BTreeSet::new();
            for unit in facts.class_teacher_of.iter().filter(|_| facts.may_meet_minors()) {
                children.extend(self.roster.members_of_unit(conn, org, *unit).await?);
            }
            Whose::Of(facts.member_id, children)
        };
        let after = self.db.decode_page(caller, &page.filter, page.token)?;
        let size = page.size + 1;
        let mut rows =
            relations::list_guardianships(conn, scope, &whose, child, pending_only, after, size).await?;
        let next_page_token = self.cut(caller, &page, &mut rows, |row| {
            GuardianshipId::from_uuid(row.guardianship_id)
        });
        if facts.is_staff() {
            let write = |tx| async move {
                parta_audit::record(
                    &tx,
                    caller,
                    Some(org),
                    format!("organizations/{org}/guardianships"),
                )
                .await?;
                Ok::<_, Error>(())
            };
            self.db.write(write).await?;
        }
        let guardianships = rows.iter().map(convert::guardianship).collect();
        Ok(ListGuardianshipsResponse {
            guardianships,
            next_page_token,
        })
    }
}
