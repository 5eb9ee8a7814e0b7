//! The changes that an import may not make for the person who starts it, or who confirms them (F6).
use std::collections::BTreeSet;

use parta_ids::MemberId;
use parta_roster::Role;

use super::{model::ChangeKind as Kind, plan::Change};
use crate::guardianships::Family;

/// The person who decides about the changes of an import.
#[derive(Debug, Clone)]
pub(crate) struct Decider {
    pub(crate) member_id: MemberId,
    pub(crate) full_name: String,
    pub(crate) family: Family,
}

impl Decider {
    /// Whether a change is the decider's own matter: it gives the decider a role or a task, or ends the
    /// membership, or it begins or ends a relation of a child whose guardian the decider is. `member` and
    /// `child` are the people of the change who have a record.
    pub(crate) fn is_own(
        &self,
        change: &Change,
        role: Option<Role>,
        member: Option<MemberId>,
        child: Option<MemberId>,
    ) -> bool {
        let is_self = |id: Option<MemberId>| id == Some(self.member_id);
        let is_own_child = |id: MemberId| self.family.children.contains(&id);
        match change.kind {
            // A link to the record of a namesake would give the decider a second role. No member of the
            // administration is a pupil.
            Kind::CreateMember | Kind::ReadmitMember => {
                role != Some(Role::Pupil) && is_same_person(&self.full_name, &change.details.person)
            }
            Kind::BeginEnrollment | Kind::EndEnrollment | Kind::BeginAssignment => is_self(member),
            Kind::EstablishGuardianship => {
                is_self(member) || is_self(child) || child.is_some_and(is_own_child)
            }
            // With the membership of a child, or of another guardian, a relation of the child ends.
            Kind::RemoveMember => {
                let ends_relation = |id| is_own_child(id) || self.family.guardians.contains(&id);
                is_self(member) || member.is_some_and(ends_relation)
            }
            Kind::CreateUnit | Kind::RenameMember | Kind::ChangeRole => false,
        }
    }
}

/// Whether two names may belong to one person: all words of the shorter one, two at least, are in the other.
/// The order of the words and a patronymic do not matter.
fn is_same_person(one: &str, other: &str) -> bool {
    let words = |name: &str| -> BTreeSet<String> {
        let name = name.to_lowercase().replace('ё', "е");
        name.split_whitespace().map(str::to_owned).collect()
    };
    let (one, other) = (words(one), words(other));
    one.len().min(other.len()) >= 2 && (one.is_subset(&other) || other.is_subset(&one))
}

#[cfg(test)]
mod tests {
    use super::is_same_person;

    #[test]
    fn names_are_compared_by_their_words() {
        assert!(is_same_person("Анна Петрова", "Петрова Анна Сергеевна"));
        assert!(is_same_person("Пётр Семёнов", "СЕМЕНОВ ПЕТР"));
        assert!(!is_same_person("Анна Петрова", "Петрова Нина Сергеевна"));
        assert!(!is_same_person("Анна", "Анна Петрова"));
    }
}
