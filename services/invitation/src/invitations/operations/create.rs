//! Making invitations.
use parta_access::{Caller, authorize};
use parta_feed as feed;
use parta_ids::{InvitationId, UnitId};
use parta_proto::parta::invitation::v1::{
    CreateInvitationResponse, InvitationCreated, invitation_event::Payload,
};
use parta_roster::{MemberContext, Role, State, UnitKind};
use parta_storage::Mutation;

use crate::{
    context::App,
    error::Error,
    invitations::{
        convert,
        model::{Draft, Invitation, InviteRole},
        policy, storage as invitations,
    },
};

impl App {
    /// Makes an invitation. The stored answer has no secret: the link is derived again for each answer.
    pub(crate) async fn create(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        draft: Draft,
    ) -> Result<CreateInvitationResponse, Error> {
        let facts = self.facts(caller, draft.org_id).await?;
        let scope = &authorize(
            caller,
            draft.org_id,
            policy::create(&facts, draft.role, draft.unit_id),
        )?;
        let (draft, issuer) = (&draft, facts.member_id);
        let mut response: CreateInvitationResponse = self
            .db
            .mutate(mutation, |tx| async move {
                self.check_place(&tx, draft).await?;
                self.check_people(&tx, draft).await?;
                let now = tx.now();
                let made = Invitation {
                    id: tx.env().id::<InvitationId>(),
                    draft: draft.clone(),
                    use_count: 0,
                    issuer_id: Some(issuer),
                    roster_import_id: None,
                    create_time: now,
                    expire_time: now + draft.ttl,
                    last_use_time: None,
                    revoke_time: None,
                    revision: 1,
                };
                let secret = self.secret(made.id);
                invitations::insert(
                    &tx,
                    scope,
                    &made,
                    secret.token_digest(),
                    secret.code_digest(&self.secrets),
                )
                .await?;
                parta_audit::record(&tx, caller, Some(draft.org_id), made.resource_name()).await?;
                let event = InvitationCreated {
                    invitation_id: made.id.to_string(),
                };
                feed::append_event(&tx, draft.org_id, Payload::InvitationCreated(event));
                Ok::<_, Error>(CreateInvitationResponse {
                    invitation: Some(convert::invitation(&made, now)),
                    ..Default::default()
                })
            })
            .await?;
        let made = response
            .invitation
            .as_ref()
            .and_then(|i| i.id.parse::<InvitationId>().ok());
        response.link = made.map(|id| convert::link(&self.secret(id), &self.config));
        Ok(response)
    }

    async fn check_place(&self, tx: &parta_storage::Tx, draft: &Draft) -> Result<(), Error> {
        let Some(unit_id) = draft.unit_id else {
            return Ok(());
        };
        let unit = self.roster.unit(tx, draft.org_id, unit_id).await?;
        let unit = unit.ok_or_else(|| parta_status::not_found("unit", unit_id))?;
        let takes = draft.role.is_staff() || matches!(unit.kind, UnitKind::Class | UnitKind::Group);
        if unit.archived || !takes {
            Err(Error::UnitNotSuitable(unit_id))
        } else {
            Ok(())
        }
    }

    async fn check_people(&self, tx: &parta_storage::Tx, draft: &Draft) -> Result<(), Error> {
        if let Some((child, unit)) = draft.child_id.zip(draft.unit_id) {
            let known = self.roster.facts(tx, draft.org_id, child).await?;
            if !known.is_some_and(|f| is_child_of(&f, unit)) {
                return Err(Error::ChildNotInUnit(child));
            }
        }
        if let Some(member) = draft.claim_member_id {
            let known = self.roster.facts(tx, draft.org_id, member).await?;
            if !known.is_some_and(|f| is_expected(&f, draft)) {
                return Err(Error::MemberNotExpected(member));
            }
        }
        Ok(())
    }
}

/// Whether the member is a pupil there, with or without an account.
fn is_child_of(facts: &MemberContext, unit: UnitId) -> bool {
    facts.state != State::Left && facts.roles.contains(&Role::Pupil) && facts.enrolled_in.contains(&unit)
}

/// Whether the record waits for somebody in this role; a pupil's one also in the unit of the link, so that a class
/// teacher cannot claim a record of another class.
fn is_expected(facts: &MemberContext, draft: &Draft) -> bool {
    let role = match draft.role {
        InviteRole::Pupil => Role::Pupil,
        InviteRole::Parent => Role::Parent,
        InviteRole::Teacher => Role::Teacher,
        InviteRole::Staff => Role::Staff,
    };
    let in_place =
        draft.role != InviteRole::Pupil || draft.unit_id.is_none_or(|u| facts.enrolled_in.contains(&u));
    facts.is_expected() && facts.roles.contains(&role) && in_place
}
