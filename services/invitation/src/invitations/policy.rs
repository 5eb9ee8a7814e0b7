//! The rules for inviting (R14) and for managing links (R15): pure functions over facts of the roster.
use parta_access::{Decision, PermissionRule, PrincipalKind};
use parta_ids::{InvitationId, TypedId as _, UnitId, Uuid};
use parta_roster::{MemberContext, Role};

use super::model::{DEFAULT_TTL, Draft, Invitation, InviteRole, Stop};

/// Whether the caller may create a link of this role to this unit.
///
/// The administration invites in every role. A class teacher invites pupils and parents of their own
/// class. Another teacher of the class invites its pupils, and its parents if the policy
/// `parent_inviters` allows it. A teacher must be cleared, and a substitute invites nobody (F3).
pub(crate) fn create(facts: &MemberContext, role: InviteRole, unit: Option<UnitId>) -> Decision {
    Decision::allow_if(
        may_invite(facts, role, unit),
        "You cannot invite people in this role to this unit.",
    )
}

fn may_invite(facts: &MemberContext, role: InviteRole, unit: Option<UnitId>) -> bool {
    if !facts.is_active() {
        return false;
    }
    if facts.is_administration() {
        return true;
    }
    let Some(unit) = unit.filter(|_| facts.is_cleared() && !role.is_staff()) else {
        return false;
    };
    facts.is_class_teacher_of(unit)
        || (facts.teaches_permanently_in(unit)
            && (role == InviteRole::Pupil || facts.policies.parent_inviters_class_staff))
}

/// Whether the member is expected in this role. A pupil must also be enrolled in the unit, if one is given,
/// so that a class teacher cannot claim a record of another class.
pub(super) fn is_expected(facts: &MemberContext, draft: &Draft, unit: Option<UnitId>) -> bool {
    let role = match draft.role {
        InviteRole::Pupil => Role::Pupil,
        InviteRole::Parent => Role::Parent,
        InviteRole::Teacher => Role::Teacher,
        InviteRole::Staff => Role::Staff,
    };
    let in_unit = draft.role != InviteRole::Pupil || unit.is_none_or(|u| facts.enrolled_in.contains(&u));
    facts.is_expected() && facts.roles.contains(&role) && in_unit
}

/// The facts on which an active link rests, at the moment when it is resolved, accepted or shown.
pub(crate) struct Grounds {
    /// Whether the unit is there and not archived; `true` for a link without a unit.
    pub(crate) unit_alive: bool,
    /// Whether the record is expected; `true` for a link that claims none.
    pub(crate) record_expected: bool,
    /// Whether the child is a pupil of the organization, whatever the unit is now; `true` for other links.
    pub(crate) child_present: bool,
    /// The issuer; `None` for a link of a roster import, and for an issuer who is unknown.
    pub(crate) issuer: Option<MemberContext>,
}

/// Returns the reason why the link does not work (F8). A link that names nobody stops with the right of
/// its issuer; a named one stands, unless its issuer is suspended or was removed for a cause. After
/// such a removal it works only if the person returns and may invite again.
pub(crate) fn stop(invitation: &Invitation, grounds: &Grounds) -> Option<Stop> {
    let draft = &invitation.draft;
    let may_go_on = match &grounds.issuer {
        None => invitation.issuer_id.is_none(),
        Some(issuer) if draft.is_named() && !issuer.removed_for_cause => {
            !issuer.is_suspended() && issuer.suspended.is_empty()
        }
        Some(issuer) => may_invite(issuer, draft.role, draft.unit_id),
    };
    if !grounds.unit_alive {
        Some(Stop::Unit)
    } else if !grounds.record_expected {
        Some(Stop::Record)
    } else if !grounds.child_present {
        Some(Stop::Child)
    } else if !may_go_on {
        Some(Stop::Issuer)
    } else {
        None
    }
}

/// Whether the caller may see a link's data: the issuer, the administration, and staff who could have created
/// it.
pub(crate) fn read(facts: &MemberContext, invitation: &Invitation) -> Decision {
    let allowed =
        manages(facts, invitation) || may_invite(facts, invitation.draft.role, invitation.draft.unit_id);
    Decision::allow_if(
        allowed,
        "Only the issuer, the administration and teachers who can invite to the unit can see the invitation.",
    )
}

/// Whether the caller may show, inspect and revoke a link: the administration, and the issuer while the
/// issuer may create such a link.
pub(crate) fn manage(facts: &MemberContext, invitation: &Invitation) -> Decision {
    Decision::allow_if(
        manages(facts, invitation),
        "Only the issuer and the administration can manage the invitation.",
    )
}

fn manages(facts: &MemberContext, invitation: &Invitation) -> bool {
    facts.is_active()
        && (facts.is_administration()
            || (invitation.issuer_id == Some(facts.member_id)
                && may_invite(facts, invitation.draft.role, invitation.draft.unit_id)))
}

/// Whether the caller may list links. Staff outside the administration see their own.
pub(crate) fn list(facts: &MemberContext) -> Decision {
    Decision::allow_if(
        facts.is_active() && facts.is_staff(),
        "Only staff can list invitations.",
    )
}

/// Whether the caller may revoke links by filter.
pub(crate) fn bulk_revoke(facts: &MemberContext) -> Decision {
    Decision::allow_if(
        facts.is_active() && facts.is_administration(),
        "Only the administration can revoke invitations by filter.",
    )
}

/// The feature's rows of the permission matrix. The sample invitation was created by another member for a
/// pupil of the sample class.
pub(crate) fn rules() -> Vec<PermissionRule> {
    vec![
        PermissionRule::own("parta.invitation.v1.InvitationService/CreateInvitation", |kind| {
            MemberContext::sample(kind).is_some_and(|facts| {
                create(&facts, InviteRole::Pupil, Some(MemberContext::sample_unit())).is_allowed()
            })
        }),
        PermissionRule::own("parta.invitation.v1.InvitationService/GetInvitation", |kind| {
            MemberContext::sample(kind).is_some_and(|facts| read(&facts, &sample(&facts)).is_allowed())
        }),
        PermissionRule::own(
            "parta.invitation.v1.InvitationService/GetInvitationLink",
            manages_sample,
        ),
        PermissionRule::own("parta.invitation.v1.InvitationService/ListInvitations", |kind| {
            MemberContext::sample(kind).is_some_and(|facts| list(&facts).is_allowed())
        }),
        PermissionRule::everywhere(
            "parta.invitation.v1.InvitationService/ResolveInvitation",
            |kind| {
                matches!(
                    kind,
                    PrincipalKind::Anonymous | PrincipalKind::Account | PrincipalKind::Joiner
                ) || kind.is_person()
            },
        ),
        PermissionRule::own(
            "parta.invitation.v1.InvitationService/RevokeInvitation",
            manages_sample,
        ),
        PermissionRule::own("parta.invitation.v1.InvitationService/AdoptInvitations", |kind| {
            MemberContext::sample(kind).is_some_and(|facts| {
                create(&facts, InviteRole::Pupil, Some(MemberContext::sample_unit())).is_allowed()
            })
        }),
        PermissionRule::own(
            "parta.invitation.v1.InvitationService/ExtendInvitations",
            manages_sample,
        ),
        PermissionRule::own(
            "parta.invitation.v1.InvitationService/BulkRevokeInvitations",
            |kind| MemberContext::sample(kind).is_some_and(|facts| bulk_revoke(&facts).is_allowed()),
        ),
    ]
}

/// Whether a principal may manage an invitation of another member.
pub(crate) fn manages_sample(kind: PrincipalKind) -> bool {
    MemberContext::sample(kind).is_some_and(|facts| manage(&facts, &sample(&facts)).is_allowed())
}

fn sample(facts: &MemberContext) -> Invitation {
    let create_time = chrono::DateTime::UNIX_EPOCH;
    Invitation {
        id: InvitationId::from_uuid(Uuid::from_u128(9)),
        draft: Draft {
            org_id: facts.org_id,
            role: InviteRole::Pupil,
            unit_id: Some(MemberContext::sample_unit()),
            child_id: None,
            claim_member_id: None,
            max_uses: 1,
            ttl: DEFAULT_TTL,
            recipient_label: String::new(),
            recipient_address: None,
        },
        use_count: 0,
        issuer_id: None,
        roster_import_id: None,
        create_time,
        expire_time: create_time + DEFAULT_TTL,
        last_use_time: None,
        revoke_time: None,
        revision: 1,
    }
}
