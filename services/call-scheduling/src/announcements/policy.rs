//! The permission to announce a call: for members who may manage the call and may write in a chat of its
//! audience.
use parta_access::{PermissionRule, PrincipalKind};
use parta_roster::MemberContext;

use crate::calls::{manages_own_sample, manages_sample};

/// The administration does not participate in the chats of a class.
fn may_write(kind: PrincipalKind) -> bool {
    MemberContext::sample(kind).is_some_and(|facts| facts.teaches_in(MemberContext::sample_unit()))
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let rule = PermissionRule::own("parta.call_scheduling.v1.CallService/AnnounceCall", |kind| {
        manages_sample(kind) && may_write(kind)
    });
    vec![rule.or_creator(|kind| manages_own_sample(kind) && may_write(kind))]
}
