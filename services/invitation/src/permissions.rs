//! The authorization table of the service, computed by its policy (`docs/permissions.md`).
use parta_access::{Permission, PrincipalKind};
use parta_ids::{InvitationId, TypedId as _, Uuid};
use parta_roster::MemberContext;

use crate::invitations::{
    model::{DEFAULT_TTL, Draft, Invitation, InviteRole},
    policy,
};

type Rule = fn(PrincipalKind) -> bool;

/// One row for each RPC and kind of principal. A person is asked about an invitation that somebody else made for a pupil
/// of the sample class.
pub fn permissions() -> Vec<Permission> {
    let rules: [(&'static str, Rule); 11] = [
        ("parta.invitation.v1.InvitationService/CreateInvitation", |k| {
            MemberContext::sample(k).is_some_and(|f| {
                policy::create(&f, InviteRole::Pupil, Some(MemberContext::sample_unit())).is_allowed()
            })
        }),
        ("parta.invitation.v1.InvitationService/GetInvitation", |k| {
            MemberContext::sample(k).is_some_and(|f| policy::read(&f, &sample(&f)).is_allowed())
        }),
        ("parta.invitation.v1.InvitationService/GetInvitationLink", manages),
        ("parta.invitation.v1.InvitationService/ListInvitations", |k| {
            MemberContext::sample(k).is_some_and(|f| policy::list(&f).is_allowed())
        }),
        (
            "parta.invitation.v1.InvitationService/ListInvitationUses",
            manages,
        ),
        ("parta.invitation.v1.InvitationService/ResolveInvitation", |k| {
            matches!(
                k,
                PrincipalKind::Anonymous | PrincipalKind::Account | PrincipalKind::Joiner
            ) || k.is_person()
        }),
        ("parta.invitation.v1.InvitationService/AcceptInvitation", |k| {
            k == PrincipalKind::Joiner
        }),
        ("parta.invitation.v1.InvitationService/RevokeInvitation", manages),
        ("parta.invitation.v1.InvitationService/AnnulInvitations", |k| {
            MemberContext::sample(k).is_some_and(|f| policy::annul(&f).is_allowed())
        }),
        ("parta.invitation.v1.InvitationFeedService/Watch", follows),
        ("parta.invitation.v1.InvitationFeedService/Snapshot", follows),
    ];
    let mut rows = Vec::with_capacity(rules.len() * PrincipalKind::ALL.len());
    for (rpc, own) in rules {
        for kind in PrincipalKind::ALL {
            let own = own(kind);
            // A link opens to whoever holds it, and services see every organization; nothing else crosses the border.
            let crosses = rpc.ends_with("/ResolveInvitation")
                || rpc.ends_with("/AcceptInvitation")
                || kind == PrincipalKind::Service;
            rows.push(Permission {
                rpc,
                kind,
                own,
                foreign: own && crosses,
            });
        }
    }
    rows
}

fn manages(kind: PrincipalKind) -> bool {
    MemberContext::sample(kind).is_some_and(|f| policy::manage(&f, &sample(&f)).is_allowed())
}

fn follows(kind: PrincipalKind) -> bool {
    matches!(kind, PrincipalKind::Service | PrincipalKind::ServiceAccount)
}

/// Somebody else's link for a pupil of the sample class.
fn sample(facts: &MemberContext) -> Invitation {
    let made = chrono::DateTime::UNIX_EPOCH;
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
        },
        use_count: 0,
        issuer_id: None,
        roster_import_id: None,
        create_time: made,
        expire_time: made + DEFAULT_TTL,
        last_use_time: None,
        revoke_time: None,
        revision: 1,
    }
}
