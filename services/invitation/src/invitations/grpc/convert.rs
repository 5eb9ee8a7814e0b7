//! Invitations to and from protobuf.
use chrono::TimeDelta;
use parta_access::Secrets;
use parta_contacts::{EmailAddress, PhoneNumber};
use parta_ids::{InvitationId, MemberId, UnitId, optional_text};
use parta_proto::timestamp;
use parta_proto_invitation::v1 as pb;
use parta_proto_membership::v1::Role;
use parta_status::{FieldViolations, field};
use prost_types::Duration;

use super::super::{
    events::{role_from_proto, role_to_proto},
    model::{DEFAULT_TTL, Draft, InviteRole, RevocationCondition, Shown, State, Stop, TTL_MAX, TTL_MIN},
    operations::{BulkRevokeInvitations, Keep, KeepInvitations},
    secret::{LinkSecret, Presented},
    storage::Filter,
};
use crate::config::Config;

/// The largest number of invitations that one call adopts or extends.
const MAX_KEPT: usize = 100;

pub(crate) fn invitation(shown: &Shown) -> pb::Invitation {
    let (from, draft) = (&shown.invitation, &shown.invitation.draft);
    let state = match shown.state {
        State::Active => pb::InvitationState::Active,
        State::UsedUp => pb::InvitationState::UsedUp,
        State::Expired => pb::InvitationState::Expired,
        State::Revoked => pb::InvitationState::Revoked,
    };
    let stop = match shown.stop {
        None => pb::InvitationStop::Unspecified,
        Some(Stop::Unit) => pb::InvitationStop::Unit,
        Some(Stop::Record) => pb::InvitationStop::Record,
        Some(Stop::Child) => pb::InvitationStop::Child,
        Some(Stop::Issuer) => pb::InvitationStop::Issuer,
    };
    pb::Invitation {
        id: from.id.to_string(),
        org_id: draft.org_id.to_string(),
        role: role_to_proto(draft.role).into(),
        unit_id: optional_text(draft.unit_id),
        child_id: optional_text(draft.child_id),
        claim_member_id: optional_text(draft.claim_member_id),
        max_uses: draft.max_uses,
        use_count: from.use_count,
        state: state.into(),
        recipient_label: draft.recipient_label.clone(),
        issuer_id: optional_text(from.issuer_id),
        roster_import_id: optional_text(from.roster_import_id),
        create_time: Some(timestamp(from.create_time)),
        expire_time: Some(timestamp(from.expire_time)),
        last_use_time: from.last_use_time.map(timestamp),
        revoke_time: from.revoke_time.map(timestamp),
        etag: parta_mutations::etag(from.revision),
        stop: stop.into(),
        named: draft.is_named(),
    }
}

pub(crate) fn link(secret: &LinkSecret, config: &Config) -> pb::InvitationLink {
    let url = match config.link_base_url.as_str() {
        "" => String::new(),
        base => format!("{base}#{}", secret.token),
    };
    pb::InvitationLink {
        link_token: secret.token.clone(),
        code: secret.grouped_code(),
        url,
    }
}

fn span(
    v: &mut FieldViolations,
    path: &str,
    given: Option<&Duration>,
    least: TimeDelta,
    most: TimeDelta,
) -> Option<TimeDelta> {
    let given = given?;
    let whole =
        TimeDelta::try_seconds(given.seconds).filter(|s| given.nanos == 0 && (least..=most).contains(s));
    let (least, most) = (least.num_seconds(), most.num_seconds());
    v.check(
        whole.is_some(),
        path,
        format!("must be whole seconds, {least} s to {most} s"),
    );
    whole
}

pub(crate) fn draft(v: &mut FieldViolations, from: &pb::CreateInvitationRequest) -> Option<Draft> {
    let org_id = field::id(v, "org_id", &from.org_id);
    let role = role_from_proto(from.role());
    v.check(role.is_some(), "role", "must be PUPIL, PARENT, TEACHER or STAFF");
    let unit_id = field::optional_id::<UnitId>(v, "unit_id", &from.unit_id);
    let child_id = field::optional_id::<MemberId>(v, "child_id", &from.child_id);
    let claim_member_id = field::optional_id::<MemberId>(v, "claim_member_id", &from.claim_member_id);
    let ttl = span(v, "ttl", from.ttl.as_ref(), TTL_MIN, TTL_MAX).unwrap_or(DEFAULT_TTL);
    let mut max_uses = from.max_uses;
    let mut label = String::new();
    if let Some(role) = role {
        let most = if claim_member_id.is_some() {
            1
        } else {
            role.most_uses()
        };
        if max_uses == 0 {
            max_uses = role.default_uses().min(most);
        }
        v.check(
            (1..=most).contains(&max_uses),
            "max_uses",
            format!("must be 1 to {most}"),
        );
        let least = usize::from(role.is_staff());
        label = field::name(v, "recipient_label", &from.recipient_label, least..=100);
        validate_target(v, from, role);
    }
    let recipient_address = recipient(v, from, role);
    let draft = Draft {
        org_id: org_id?,
        role: role?,
        unit_id,
        child_id,
        claim_member_id,
        max_uses,
        ttl,
        recipient_label: label,
        recipient_address,
    };
    v.check(
        draft.ttl <= draft.ttl_max(),
        "ttl",
        "must be at most 14 days unless the link names a child, a record or an address",
    );
    Some(draft)
}

/// Checks whether the request names the unit and the child that the role needs. The children of a claimed
/// parent are those of the record, in whatever units they are.
fn validate_target(v: &mut FieldViolations, from: &pb::CreateInvitationRequest, role: InviteRole) {
    if role == InviteRole::Parent && !from.claim_member_id.is_empty() {
        for (path, given) in [("unit_id", &from.unit_id), ("child_id", &from.child_id)] {
            v.check(
                given.is_empty(),
                path,
                "must be empty for a parent with claim_member_id",
            );
        }
        return;
    }
    if !role.is_staff() && from.unit_id.is_empty() {
        v.add("unit_id", "is required for pupils and parents");
    }
    if role == InviteRole::Parent {
        v.check(!from.child_id.is_empty(), "child_id", "is required for parents");
    } else {
        v.check(
            from.child_id.is_empty(),
            "child_id",
            "must be empty unless the role is PARENT",
        );
    }
}

/// The phone or e-mail of the recipient, in the form in which membership stores it.
fn recipient(
    v: &mut FieldViolations,
    from: &pb::CreateInvitationRequest,
    role: Option<InviteRole>,
) -> Option<String> {
    let given = from.recipient_address.as_str();
    if given.is_empty() {
        return None;
    }
    v.check(
        role.is_none_or(InviteRole::is_staff),
        "recipient_address",
        "is allowed only for TEACHER and STAFF",
    );
    let phone = given
        .parse::<PhoneNumber>()
        .map(|phone| phone.as_str().to_owned());
    let address = phone.or_else(|_| given.parse::<EmailAddress>().map(|mail| mail.as_str().to_owned()));
    v.check(
        address.is_ok(),
        "recipient_address",
        "must be a phone or an e-mail",
    );
    address.ok()
}

/// The ids of invitations that one call names: one to 100, each once.
pub(crate) fn invitation_ids(v: &mut FieldViolations, given: &[String]) -> Vec<InvitationId> {
    v.check(
        (1..=MAX_KEPT).contains(&given.len()),
        "invitation_ids",
        "must have 1 to 100 invitations",
    );
    let mut ids = Vec::new();
    for (index, text) in given.iter().take(MAX_KEPT).enumerate() {
        let path = format!("invitation_ids[{index}]");
        let Some(id) = field::id::<InvitationId>(v, &path, text) else {
            continue;
        };
        v.check(!ids.contains(&id), path, "must be named once");
        ids.push(id);
    }
    ids
}

pub(crate) fn extend(
    v: &mut FieldViolations,
    from: &pb::ExtendInvitationsRequest,
) -> Option<KeepInvitations> {
    let org_id = field::id(v, "org_id", &from.org_id);
    let invitation_ids = invitation_ids(v, &from.invitation_ids);
    let ttl = span(v, "ttl", from.ttl.as_ref(), TTL_MIN, TTL_MAX).unwrap_or(DEFAULT_TTL);
    Some(KeepInvitations {
        org_id: org_id?,
        invitation_ids,
        keep: Keep::Extend(ttl),
    })
}

pub(crate) fn filter(v: &mut FieldViolations, from: &pb::ListInvitationsRequest) -> Filter {
    let state = match from.state() {
        pb::InvitationState::Active => Some(State::Active),
        pb::InvitationState::UsedUp => Some(State::UsedUp),
        pb::InvitationState::Expired => Some(State::Expired),
        pb::InvitationState::Revoked => Some(State::Revoked),
        pb::InvitationState::Unspecified => None,
    };
    let known = pb::InvitationState::try_from(from.state).is_ok();
    v.check(known, "state", "is not a known state");
    Filter {
        unit_id: field::optional_id(v, "unit_id", &from.unit_id),
        role: maybe_role(v, from.role),
        state,
        unused: from.unused,
        issuer_id: None,
    }
}

fn maybe_role(v: &mut FieldViolations, given: i32) -> Option<InviteRole> {
    if given == 0 {
        return None;
    }
    let role = Role::try_from(given).ok().and_then(role_from_proto);
    v.check(role.is_some(), "role", "must be PUPIL, PARENT, TEACHER or STAFF");
    role
}

pub(crate) fn bulk_revoke(
    v: &mut FieldViolations,
    from: &pb::BulkRevokeInvitationsRequest,
) -> Option<BulkRevokeInvitations> {
    let org_id = field::id(v, "org_id", &from.org_id);
    let condition = match from.condition() {
        pb::RevocationCondition::Unused => Some(RevocationCondition::Unused),
        pb::RevocationCondition::Idle => Some(RevocationCondition::Idle),
        pb::RevocationCondition::Unspecified => None,
    };
    v.check(condition.is_some(), "condition", "must be UNUSED or IDLE");
    let most = TimeDelta::days(365);
    let older_than = span(v, "older_than", from.older_than.as_ref(), TimeDelta::zero(), most);
    let unit_id = field::optional_id(v, "unit_id", &from.unit_id);
    let role = maybe_role(v, from.role);
    Some(BulkRevokeInvitations {
        org_id: org_id?,
        condition: condition?,
        older_than: older_than.unwrap_or_default(),
        unit_id,
        role,
        dry_run: from.dry_run,
    })
}

/// Decodes the presented secret. A missing one is a violation; `None` without a violation means that no
/// secret has this form, which is refused like an unknown secret.
pub(crate) fn presented(
    v: &mut FieldViolations,
    secrets: &Secrets,
    token: Option<&str>,
    code: Option<&str>,
) -> Option<Presented> {
    match (token, code) {
        (Some(token), _) if !token.is_empty() => Presented::token(token),
        (None, Some(code)) if !code.is_empty() => Presented::code(secrets, code),
        _ => {
            v.add("secret", "a link token or a code is required");
            None
        }
    }
}
