//! Letting in whoever accepted an invitation (R14, R16, R17).
use parta_access::{Caller, Decision, OrgScope, authorize};
use parta_ids::{AccountId, FlowId, InvitationId, MemberId, OrgId, UnitId};
use parta_proto::parta::membership::{internal::v1::AdmitMemberResponse, v1::ErrorReason};
use parta_roster::{Role, State};
use parta_storage::{Mutation, Tx};

use crate::{
    accounts::storage as accounts,
    context::Context,
    enrollments,
    error::Error,
    guardianships,
    member_records::{Member, events, storage as members},
};

/// What an invitation gives to whom.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    pub(crate) org_id: OrgId,
    pub(crate) invitation_id: InvitationId,
    pub(crate) flow_id: FlowId,
    pub(crate) role: Role,
    pub(crate) unit_id: Option<UnitId>,
    pub(crate) child_id: Option<MemberId>,
    pub(crate) claim_member_id: Option<MemberId>,
    pub(crate) issuer_id: Option<MemberId>,
}

impl Context {
    pub(crate) async fn admit(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        wanted: &Admission,
    ) -> Result<AdmitMemberResponse, Error> {
        let org = wanted.org_id;
        let scope = &authorize(caller, org, Decision::Allow)?;
        self.db
            .mutate(mutation, |tx| async move {
                let account = accounts::find_join_flow(&tx, wanted.flow_id).await?;
                let account = account.ok_or(Error::State(ErrorReason::JoinFlowUnknown))?;
                if let Some(member) =
                    members::find_admission(&tx, scope, wanted.invitation_id, account).await?
                {
                    let row = members::find(&tx, scope, member).await?;
                    if row.is_none_or(|row| row.state == State::Left) {
                        return Err(Error::State(ErrorReason::MemberLeft));
                    }
                    let member_id = member.to_string();
                    return Ok(AdmitMemberResponse {
                        member_id,
                        already_member: true,
                        ..Default::default()
                    });
                }
                let row = self.upsert_member(&tx, scope, wanted, account).await?;
                let id = row.id;
                members::insert_admission(&tx, scope, wanted.invitation_id, account, id, tx.now()).await?;
                if let Some(unit) = wanted.unit_id.filter(|_| wanted.role == Role::Pupil) {
                    enrollments::begin(&tx, scope, id, unit).await?;
                }
                if let Some(child) = wanted.child_id.filter(|_| wanted.role == Role::Parent) {
                    guardianships::establish(self, &tx, scope, id, child).await?;
                }
                let issuer = wanted
                    .issuer_id
                    .map(|id| format!(" by members/{id}"))
                    .unwrap_or_default();
                let object = format!("organizations/{org}/members/{id}{issuer}");
                parta_audit::record(&tx, caller, Some(org), object).await?;
                Ok::<_, Error>(AdmitMemberResponse {
                    member_id: id.to_string(),
                    ..Default::default()
                })
            })
            .await
    }

    /// The person's one record: an expected one that is claimed, the one that exists, or a new one.
    async fn upsert_member(
        &self,
        tx: &Tx,
        scope: &OrgScope,
        wanted: &Admission,
        account: AccountId,
    ) -> Result<Member, Error> {
        let (org, role) = (wanted.org_id, wanted.role);
        let present = members::lock_by_account(tx, scope, account).await?;
        if let Some(claim) = wanted.claim_member_id {
            let found = members::lock(tx, scope, claim).await?;
            let free = found.filter(|row| row.account_id.is_none() && row.state == State::Expected);
            // Who is here already does not become a second person.
            let (Some(mut row), None) = (free, &present) else {
                return Err(Error::State(ErrorReason::AlreadyClaimed));
            };
            row.account_id = Some(account);
            row.state = State::Active;
            row.roles.insert(role);
            row.invitation_id = Some(wanted.invitation_id);
            members::update(tx, scope, &mut row).await?;
            events::changed(tx, &row).await?;
            return Ok(row);
        }
        if let Some(mut row) = present {
            if row.state == State::Left {
                // Who comes back has what the new invitation gives, nothing of before.
                row.roles.clear();
                (row.teacher_verified, row.leave_time) = (false, None);
                row.state = State::Active;
            }
            row.roles.insert(role);
            members::update(tx, scope, &mut row).await?;
            events::changed(tx, &row).await?;
            return Ok(row);
        }
        let known = accounts::find(tx, account)
            .await?
            .ok_or(Error::State(ErrorReason::JoinFlowUnknown))?;
        let mut row = Member::new(
            org,
            tx.env().id(),
            &known.full_name,
            State::Active,
            role,
            tx.now(),
        );
        row.account_id = Some(account);
        row.invitation_id = Some(wanted.invitation_id);
        // Another link may be making the same person a member at this moment: repeated, it is found.
        members::insert(tx, scope, &row)
            .await
            .map_err(Error::conflict_on_unique)?;
        events::admitted(tx, &row).await?;
        Ok(row)
    }
}
