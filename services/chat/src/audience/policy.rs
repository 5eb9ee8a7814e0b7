use std::collections::{BTreeMap, BTreeSet};

use parta_ids::MemberId;
use parta_roster::{MemberContext, Role};

use crate::entries::model::Rule;

/// A place in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// Whether its holder writes, or only reads.
    pub may_post: bool,
}

/// The place that the roster gives a member in a derived chat; none where the member does not belong.
///
/// An unverified teacher, where verification is required, belongs to «Сотрудники» and to nothing else.
pub fn seat(rule: Rule, facts: &MemberContext) -> Option<Seat> {
    if !facts.is_active() {
        return None;
    }
    let teaches = |unit| facts.may_meet_minors() && facts.teaches_in(unit);
    let unverified = facts.roles.contains(&Role::Teacher) && !facts.may_meet_minors();
    let is_family = facts.roles.contains(&Role::Pupil) || facts.roles.contains(&Role::Parent);
    let may_post = match rule {
        Rule::School if facts.is_staff() && !unverified => facts.is_administration(),
        Rule::School if is_family && facts.policies.school_channel_open_to_families => false,
        Rule::Staff if facts.is_staff() => true,
        Rule::Pupils(unit) if facts.is_pupil_in(unit) || teaches(unit) => true,
        Rule::Parents(unit) if facts.is_parent_in(unit) => true,
        Rule::Parents(unit) if facts.may_meet_minors() && facts.is_class_teacher_of(unit) => true,
        Rule::Teachers(unit) if teaches(unit) => true,
        _ => return None,
    };
    Some(Seat { may_post })
}

/// Every rule under which a member might have a seat: the organization's two, and those of each class that the member
/// has to do with. Any other rule gives none.
pub fn derived_rules(facts: &MemberContext) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::from([Rule::School, Rule::Staff]);
    rules.extend(facts.units().into_iter().flat_map(Rule::of_unit));
    rules
}

/// What turns the people of a chat into those who belong there.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Diff {
    /// Who comes in.
    pub joins: BTreeMap<MemberId, Seat>,
    /// Who leaves.
    pub leaves: BTreeSet<MemberId>,
    /// Who stays with another right to write.
    pub changes: BTreeMap<MemberId, Seat>,
}

impl Diff {
    /// Whether everything is as it should be.
    pub fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.leaves.is_empty() && self.changes.is_empty()
    }

    /// Joins of these people.
    pub fn joining(members: impl IntoIterator<Item = MemberId>, seat: Seat) -> Self {
        Self {
            joins: members.into_iter().map(|m| (m, seat)).collect(),
            ..Self::default()
        }
    }

    /// Removals of these people.
    pub fn leaving(members: impl IntoIterator<Item = MemberId>) -> Self {
        Self {
            leaves: members.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// The set difference between who is in a chat and who belongs there.
pub fn difference(present: &BTreeMap<MemberId, Seat>, wanted: &BTreeMap<MemberId, Seat>) -> Diff {
    let mut diff = Diff::default();
    for (member, seat) in wanted {
        match present.get(member) {
            None => _ = diff.joins.insert(*member, *seat),
            Some(had) if had != seat => _ = diff.changes.insert(*member, *seat),
            Some(_) => {}
        }
    }
    diff.leaves = present
        .keys()
        .filter(|m| !wanted.contains_key(m))
        .copied()
        .collect();
    diff
}
