//! Creating invitations.
use parta_access::{Caller, OrgScope, Principal, Secrets, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Stored};
use parta_ids::{InvitationId, MemberId, RosterImportId, UnitId};
use parta_roster::{MemberContext, Role, State, UnitKind};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        events,
        model::{DEFAULT_TTL, Draft, Invitation, InviteRole, Shown},
        policy,
        secret::LinkSecret,
        storage,
    },
    grounds::show,
};
use crate::{
    context::{Context, Run},
    error::Error,
};

/// Name of the consumer that creates the links of roster imports.
pub(crate) const IMPORT: &str = "invitation.import";

#[derive(Debug)]
pub(crate) struct CreateInvitation {
    pub(crate) draft: Draft,
}

/// The proof that the caller may create the link.
pub(crate) struct MayCreate {
    scope: OrgScope,
    issuer_id: MemberId,
}

/// The outcome of a creation, stored for repetitions.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CreatedId {
    invitation_id: InvitationId,
}

impl Stored for CreatedId {}

/// The invitation with its secret, which is derived again for each response.
pub(crate) struct Created {
    pub(crate) shown: Shown,
    pub(crate) secret: LinkSecret,
}

impl Mutation for CreateInvitation {
    type Context = Context;
    type Grant = MayCreate;
    type Outcome = CreatedId;
    type View = Created;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayCreate, Error> {
        let Run { context, tx, caller } = run;
        let draft = &self.draft;
        let facts = context.roster.caller_context(tx, caller, draft.org_id).await?;
        let decision = policy::create(&facts, draft.role, draft.unit_id);
        Ok(MayCreate {
            scope: authorize(caller, draft.org_id, decision)?,
            issuer_id: facts.member_id,
        })
    }

    async fn act(&self, run: Run<'_>, grant: &MayCreate) -> Result<CreatedId, Error> {
        let Run { context, tx, caller } = run;
        check_unit(context, tx, &self.draft).await?;
        check_people(context, tx, &self.draft).await?;
        let invitation = Invitation {
            issuer_id: Some(grant.issuer_id),
            ..new(tx, self.draft.clone())
        };
        save(tx, &context.secrets, caller, &grant.scope, &invitation).await?;
        Ok(CreatedId {
            invitation_id: invitation.id,
        })
    }

    async fn view(&self, run: Run<'_>, grant: &MayCreate, outcome: &CreatedId) -> Result<Created, Error> {
        let Run { context, tx, .. } = run;
        let id = outcome.invitation_id;
        let invitation = storage::find(tx, &grant.scope, id).await?;
        Ok(Created {
            shown: show(context, tx, invitation.ok_or(Error::Unknown(id))?).await?,
            secret: LinkSecret::of(&context.secrets, id),
        })
    }
}

/// Creates the link of a roster import for one expected member, unless the import created it before.
pub(crate) async fn create_imported(
    tx: &Tx,
    secrets: &Secrets,
    scope: &OrgScope,
    import: RosterImportId,
    member: MemberId,
    role: InviteRole,
) -> Result<(), Error> {
    let caller = &Caller::new(
        Principal::Service {
            name: tx.db().service().to_owned(),
        },
        IMPORT,
    );
    let draft = Draft {
        org_id: scope.org_id(),
        role,
        unit_id: None,
        child_id: None,
        claim_member_id: Some(member),
        max_uses: 1,
        ttl: DEFAULT_TTL,
        recipient_label: String::new(),
        recipient_address: None,
    };
    let invitation = Invitation {
        roster_import_id: Some(import),
        ..new(tx, draft)
    };
    save(tx, secrets, caller, scope, &invitation).await
}

fn new(tx: &Tx, draft: Draft) -> Invitation {
    let now = tx.now();
    Invitation {
        id: tx.env().id::<InvitationId>(),
        use_count: 0,
        issuer_id: None,
        roster_import_id: None,
        create_time: now,
        expire_time: now + draft.ttl,
        last_use_time: None,
        revoke_time: None,
        revision: 1,
        draft,
    }
}

async fn save(
    tx: &Tx,
    secrets: &Secrets,
    caller: &Caller,
    scope: &OrgScope,
    invitation: &Invitation,
) -> Result<(), Error> {
    let secret = LinkSecret::of(secrets, invitation.id);
    let (token, code) = (secret.token_digest(), secret.code_digest(secrets));
    if storage::insert(tx, scope, invitation, token, code).await? {
        parta_audit::record(tx, caller, Some(scope.org_id()), invitation.resource_name()).await?;
        events::created(tx, invitation);
    }
    Ok(())
}

async fn check_unit(context: &Context, tx: &Tx, draft: &Draft) -> Result<(), Error> {
    let Some(unit_id) = draft.unit_id else {
        return Ok(());
    };
    let unit = context.roster.unit(tx, draft.org_id, unit_id).await?;
    let unit = unit.ok_or_else(|| parta_status::not_found("unit", unit_id))?;
    let suits = draft.role.is_staff() || matches!(unit.kind, UnitKind::Class | UnitKind::Group);
    if unit.archived || !suits {
        return Err(Error::unit_not_suitable(unit_id));
    }
    Ok(())
}

async fn check_people(context: &Context, tx: &Tx, draft: &Draft) -> Result<(), Error> {
    if let Some((child, unit)) = draft.child_id.zip(draft.unit_id) {
        let facts = context.roster.facts(tx, draft.org_id, child).await?;
        if !facts.is_some_and(|f| is_child_of(&f, unit)) {
            return Err(Error::child_not_in_unit(child));
        }
    }
    if let Some(member) = draft.claim_member_id {
        let facts = context.roster.facts(tx, draft.org_id, member).await?;
        if !facts.is_some_and(|f| policy::is_expected(&f, draft, draft.unit_id)) {
            return Err(Error::member_not_expected(member));
        }
    }
    Ok(())
}

/// Whether the member is a pupil of the unit, with or without an account.
fn is_child_of(facts: &MemberContext, unit: UnitId) -> bool {
    facts.state != State::Left && facts.roles.contains(&Role::Pupil) && facts.enrolled_in.contains(&unit)
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let outcome = CreatedId {
            invitation_id: InvitationId::from_uuid(Uuid::from_u128(9)),
        };
        let stored = outcome.encode().unwrap();
        let form = format!("\u{1}{{\"invitation_id\":\"{}\"}}", outcome.invitation_id);
        assert_eq!(stored, form.as_bytes());
        assert_eq!(CreatedId::decode(&stored).unwrap(), outcome);
    }
}
