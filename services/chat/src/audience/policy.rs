use std::collections::{BTreeMap, BTreeSet};

use parta_ids::MemberId;
use parta_roster::{MemberContext, Role};

use crate::{
    entries::{ParticipantKind, Participation, Rule},
    talk_policy::{Standing, standings},
};

/// The participation that the roster gives a member in a derived chat; `None` if the member does not belong
/// to it.
///
/// If the organization requires verification, an unverified teacher belongs only to «Сотрудники» and
/// «Учительская». Deputies do not publish in channels (F25). A limit toward a child keeps a member out
/// of the child's chats, whatever other ground the member has (F13). The role PARENT gives nothing
/// without a confirmed relation.
pub(crate) fn participation(rule: Rule, facts: &MemberContext) -> Option<Participation> {
    if !facts.is_active() {
        return None;
    }
    let teaches = |unit| facts.is_cleared() && facts.teaches_in(unit);
    let is_kept_out = match rule {
        Rule::School | Rule::Staff | Rule::StaffRoom | Rule::ParentsChannel | Rule::PupilsChannel => false,
        Rule::Pupils(unit) => facts.is_kept_from_pupils_of(unit) || facts.is_kept_from_whereabouts_of(unit),
        Rule::Parents(unit) | Rule::Teachers(unit) => facts.is_kept_from_whereabouts_of(unit),
    };
    if is_kept_out {
        return None;
    }
    let unverified = facts.holds(Role::Teacher) && !facts.is_cleared() && !facts.is_administration();
    let is_family = facts.roles.contains(&Role::Pupil) || facts.is_parent();
    let publishes = facts.is_administrator() || facts.roles.contains(&Role::Head);
    let may_post = match rule {
        Rule::School if facts.is_staff() && !unverified => publishes,
        Rule::School if is_family && facts.policies.school_channel_open_to_families => false,
        Rule::Staff if facts.is_staff() => publishes,
        Rule::StaffRoom if facts.roles.contains(&Role::Teacher) || facts.is_administration() => true,
        Rule::ParentsChannel if facts.is_administration() || facts.is_parent() => publishes,
        Rule::PupilsChannel if facts.is_administration() || facts.roles.contains(&Role::Pupil) => publishes,
        Rule::Pupils(unit) if facts.is_pupil_in(unit) || teaches(unit) => true,
        Rule::Pupils(unit) if facts.duty_rooms().contains(&unit) => true,
        Rule::Parents(unit) if facts.is_parent_in(unit) => true,
        Rule::Parents(unit) if facts.is_cleared() && facts.acts_as_class_teacher_of(unit) => true,
        Rule::Teachers(unit) if teaches(unit) => true,
        _ => return None,
    };
    Some(Participation::new(facts, may_post))
}

/// Every rule that may give the member a participation: those of the organization and the three of each class
/// to which the member is related.
pub(crate) fn derived_rules(facts: &MemberContext) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::from(Rule::OF_ORGANIZATION);
    rules.extend(facts.units().into_iter().flat_map(Rule::of_unit));
    rules.extend(facts.duty_rooms().into_iter().map(Rule::Pupils));
    rules
}

/// The participation of these people in a named chat of them. A member who may not be in it is missing.
pub(crate) fn named_participants(people: &[MemberContext]) -> BTreeMap<MemberId, Participation> {
    let standings = standings(people);
    let participation = |facts: &MemberContext| {
        let standing = *standings.get(&facts.member_id)?;
        let kind = match (standing, ParticipantKind::of(facts)) {
            (Standing::Responsible, _) => ParticipantKind::ClearedStaff,
            // A badge without a ground toward every pupil makes nobody responsible.
            (_, ParticipantKind::ClearedStaff) => ParticipantKind::Staff,
            (_, kind) => kind,
        };
        let may_post = standing != Standing::Suspended;
        Some((facts.member_id, Participation { may_post, kind }))
    };
    people.iter().filter_map(participation).collect()
}
