use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use parta_ids::{AccountId, InvitationId, MemberId, OrgId, UnitId};
use parta_roster::{Role, State};
use unicode_security::skeleton;

/// The reason why a person left the organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaveReason {
    /// A roster import whose source no longer lists the person. A later import may readmit the person.
    Source,
    /// A decision of the school. No import takes it back (F9).
    Decision,
    /// A pupil who has finished the school. No import takes it back.
    Graduated,
    /// The person has died. Nothing takes it back but a decision of the school about a mistake.
    Deceased,
}

impl LeaveReason {
    /// The number in the database, which is that of the API.
    pub(super) fn number(self) -> i32 {
        match self {
            Self::Source => 1,
            Self::Decision => 2,
            Self::Graduated => 3,
            Self::Deceased => 4,
        }
    }

    /// Reads the number of the database; `None` for one that this build does not know.
    pub(super) fn from_number(number: i32) -> Option<Self> {
        [Self::Source, Self::Decision, Self::Graduated, Self::Deceased]
            .into_iter()
            .find(|reason| reason.number() == number)
    }
}

/// The record as it was when a person claimed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The roles with which the member was expected.
    pub(crate) roles: BTreeSet<Role>,
    pub(crate) claim_time: DateTime<Utc>,
}

/// A person in an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) org_id: OrgId,
    pub(crate) id: MemberId,
    /// The account of the person; `None` while the person is expected.
    pub(crate) account_id: Option<AccountId>,
    pub(crate) full_name: String,
    pub(crate) state: State,
    pub(crate) roles: BTreeSet<Role>,
    /// Roles that a decision took away and that nobody has given back. No import gives one of them.
    pub(crate) revoked_roles: BTreeSet<Role>,
    /// Whether the teacher was verified (R22).
    pub(crate) teacher_verified: bool,
    /// On what the latest decision about verification rests.
    pub(crate) evidence: Option<String>,
    /// The member who took that decision.
    pub(crate) verifier_id: Option<MemberId>,
    /// The invitation by which the present membership began.
    pub(crate) invitation_id: Option<InvitationId>,
    /// The claim by which the person took over an expected record; `None` if the person did not.
    pub(crate) claim: Option<Claim>,
    /// The number of times that staff released the record from an account.
    pub(crate) release_count: i32,
    pub(crate) create_time: DateTime<Utc>,
    pub(crate) leave_time: Option<DateTime<Utc>>,
    /// The cause of the latest removal for which one was stated, as the deciding person wrote it. It stays
    /// when the person returns, because the return does not make the earlier named links work (F8).
    pub(crate) leave_cause: Option<String>,
    /// `None` while the person is a member.
    pub(crate) leave_reason: Option<LeaveReason>,
    /// The record of the same person with which this one was joined, which has left by that.
    pub(crate) joined_id: Option<MemberId>,
    /// Raised by each change; the etag of the API.
    pub(crate) revision: i64,
}

impl Member {
    /// A record of a new person.
    pub(crate) fn new(
        org_id: OrgId,
        id: MemberId,
        full_name: &str,
        state: State,
        role: Role,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            org_id,
            id,
            account_id: None,
            full_name: full_name.to_owned(),
            state,
            roles: BTreeSet::from([role]),
            revoked_roles: BTreeSet::new(),
            teacher_verified: false,
            evidence: None,
            verifier_id: None,
            invitation_id: None,
            claim: None,
            release_count: 0,
            create_time: now,
            leave_time: None,
            leave_cause: None,
            leave_reason: None,
            joined_id: None,
            revision: 1,
        }
    }

    /// Begins another membership of a person who had left. Only the record itself stays: its id, name,
    /// account, creation time and the cause of a removal. Relations ended with the earlier membership
    /// (`departures`).
    pub(crate) fn begin_again(&mut self, invitation_id: Option<InvitationId>) {
        self.state = State::Active;
        self.roles.clear();
        self.teacher_verified = false;
        (self.evidence, self.verifier_id) = (None, None);
        self.invitation_id = invitation_id;
        self.claim = None;
        (self.leave_time, self.leave_reason) = (None, None);
    }

    /// Takes an expected record over for an account.
    pub(crate) fn claim(&mut self, account: AccountId, invitation_id: InvitationId, now: DateTime<Utc>) {
        self.claim = Some(Claim {
            roles: self.roles.clone(),
            claim_time: now,
        });
        self.account_id = Some(account);
        self.invitation_id = Some(invitation_id);
        self.state = State::Active;
    }

    /// Gives a role by a decision, which takes back that an earlier one revoked it.
    pub(crate) fn grant(&mut self, role: Role) {
        self.roles.insert(role);
        self.revoked_roles.remove(&role);
    }

    /// Whether the person holds the role.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// A member as others see one.
#[derive(Debug, Clone)]
pub(crate) struct MemberView {
    pub(crate) member: Member,
    /// In which the member is enrolled.
    pub(crate) units: Vec<UnitId>,
    /// Whether a role is suspended.
    pub(crate) absent: bool,
    /// Whether another member, who works in the organization, has a name that looks alike.
    pub(crate) namesake_of_staff: bool,
}

/// The same text for names that look alike: written with other capital letters, spaces, or letters of another
/// alphabet, or with е for ё.
pub(crate) fn name_key(name: &str) -> String {
    let lower = name.to_lowercase().replace('ё', "е");
    let words: Vec<String> = lower
        .split_whitespace()
        .map(|word| skeleton(word).collect())
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::name_key;

    #[test]
    fn names_that_look_alike_have_the_same_key() {
        let name = name_key("Иван Орлов");
        // The first o is Latin in the second name, and all letters that can be are in the third one.
        for other in ["иван  ОРЛОВ ", "Иван Oрлов", "Ивaн Opлoв"] {
            assert_eq!(name_key(other), name, "{other}");
        }
        assert_eq!(name_key("Артём Белов"), name_key("Артем Белов"));
        assert_ne!(name_key("Орлов Иван"), name);
        assert_ne!(name_key("Иван Орлова"), name);
    }
}
