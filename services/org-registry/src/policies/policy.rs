//! Permissions to change policies: pure functions over facts of the roster.
use parta_access::{Decision, PermissionRule, PrincipalKind};
use parta_ids::MemberId;
use parta_roster::{MemberContext, Policies};

/// Whether the caller may preview and request changes: the administrator (R9).
pub(super) fn change(facts: &MemberContext) -> Decision {
    Decision::allow_if(
        facts.is_administrator(),
        "Only the administrator can change the organization's policies.",
    )
}

/// Whether the caller may read the history, and confirm and drop pending changes. [`is_second_person`]
/// decides about a given one.
pub(super) fn decide(facts: &MemberContext) -> Decision {
    Decision::allow_if(
        facts.is_administration(),
        "Only the administration can see the history of the policies and decide about changes.",
    )
}

/// The operator may confirm if the organization has no second person; the operation looks for one.
pub(super) fn confirm_as_operator() -> Decision {
    Decision::Allow
}

/// Whether the change makes the member cleared to meet pupils, so that it is the member's own matter.
fn gains(facts: &MemberContext, after: &Policies) -> bool {
    let mut changed = facts.clone();
    changed.policies = after.clone();
    changed.is_cleared() && !facts.is_cleared()
}

/// Whether the member may confirm this change: one of the administration who did not request it and does not
/// gain by it (F6, glossary: cleared).
pub(super) fn is_second_person(facts: &MemberContext, author: MemberId, after: &Policies) -> bool {
    decide(facts).is_allowed() && facts.member_id != author && !gains(facts, after)
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let changes = |kind| MemberContext::sample(kind).is_some_and(|facts| change(&facts).is_allowed());
    let decides = |kind| MemberContext::sample(kind).is_some_and(|facts| decide(&facts).is_allowed());
    vec![
        PermissionRule::own("parta.org_registry.v1.PolicyService/PreviewPolicies", changes),
        PermissionRule::own("parta.org_registry.v1.PolicyService/UpdatePolicies", changes),
        PermissionRule::own(
            "parta.org_registry.v1.PolicyService/ConfirmPolicyChange",
            |kind| {
                let decides = |facts: MemberContext| decide(&facts).is_allowed();
                let is_operator = kind == PrincipalKind::Operator && confirm_as_operator().is_allowed();
                is_operator || MemberContext::sample(kind).is_some_and(decides)
            },
        ),
        PermissionRule::own("parta.org_registry.v1.PolicyService/DropPolicyChange", decides),
        PermissionRule::own("parta.org_registry.v1.PolicyService/ListPolicyChanges", decides),
        PermissionRule::own(
            "parta.org_registry.v1.PolicyService/ListPendingPolicyChanges",
            |kind| kind == PrincipalKind::Operator,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use parta_ids::{OrgId, TypedId as _, Uuid};
    use parta_roster::{Role, State};

    use super::*;
    use crate::policies::{
        model::{ValueChange, differences},
        tests::every_document,
    };

    fn member(number: u128, roles: BTreeSet<Role>, verified: bool, policies: &Policies) -> MemberContext {
        let org = OrgId::from_uuid(Uuid::from_u128(1));
        let member = MemberId::from_uuid(Uuid::from_u128(number));
        let mut facts = MemberContext::new(org, member, State::Active, roles);
        facts.teacher_verified = verified;
        facts.policies = policies.clone();
        facts
    }

    /// Covers: F19 refused
    #[test]
    fn no_change_clears_a_member_without_a_second_person() {
        for before in every_document() {
            for after in every_document() {
                let changes = differences(&before, &after);
                let needs = changes.iter().any(ValueChange::needs_second_person);
                for mask in 0..(1 << 8) {
                    for verified in [false, true] {
                        let facts = member(1, Role::set_of(mask), verified, &before);
                        assert!(!gains(&facts, &after) || needs, "{facts:?} {after:?}");
                    }
                }
            }
        }
    }

    /// Covers: F6 refused
    #[test]
    fn nobody_is_the_second_person_in_the_own_matter() {
        let author = MemberId::from_uuid(Uuid::from_u128(1));
        let before = Policies::default();
        let after = Policies {
            verification_required: false,
            ..Policies::default()
        };
        for mask in 0..(1 << 8) {
            let roles = Role::set_of(mask);
            for verified in [false, true] {
                let own = member(1, roles.clone(), verified, &before);
                assert!(!is_second_person(&own, author, &after));
                let other = member(2, roles.clone(), verified, &before);
                let gains = roles.contains(&Role::Teacher) && !verified;
                let decides = [Role::Administrator, Role::Head, Role::Deputy]
                    .iter()
                    .any(|role| roles.contains(role));
                assert_eq!(
                    is_second_person(&other, author, &after),
                    decides && !gains,
                    "{roles:?}"
                );
            }
        }
    }
}
