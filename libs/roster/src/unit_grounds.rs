//! When the grounds of a member in units began (F22).
//!
//! Only membership compares the dates of grounds with the clock. The projection has no ends, and nothing here
//! decides whether a ground holds.
use chrono::{DateTime, Utc};
use parta_ids::UnitId;

use crate::{MemberContext, Role, UnitGround};

/// Returns the role by which a member has a ground.
fn role_of(ground: UnitGround) -> Role {
    match ground {
        UnitGround::Pupil => Role::Pupil,
        UnitGround::Parent => Role::Parent,
        UnitGround::Teacher
        | UnitGround::ClassTeacher
        | UnitGround::Substitute
        | UnitGround::SubstituteClassTeacher => Role::Teacher,
    }
}

impl MemberContext {
    /// Records that a ground in a unit began at this time. Of several grounds of a kind the earliest counts.
    pub fn begin(&mut self, unit: UnitId, ground: UnitGround, time: DateTime<Utc>) {
        let begin = self.begin_times.entry((unit, ground)).or_insert(time);
        *begin = time.min(*begin);
    }

    /// Returns when the earliest ground of this kind in the unit began; `None` if there is none by a role
    /// that the member holds, or if an earlier build published it without a time.
    pub fn ground_since(&self, unit: UnitId, ground: UnitGround) -> Option<DateTime<Utc>> {
        let begin = self.begin_times.get(&(unit, ground)).copied();
        begin.filter(|_| self.is_active() && self.roles.contains(&role_of(ground)))
    }

    /// Returns whether the ground in the unit began no later than this time. One of which an earlier build
    /// published no time counts as an earlier one. Does not decide whether the ground holds.
    pub fn ground_began_by(&self, unit: UnitId, ground: UnitGround, time: DateTime<Utc>) -> bool {
        self.ground_since(unit, ground).is_none_or(|begin| begin <= time)
    }

    /// Returns when the earliest enrollment of the member began.
    pub fn pupil_since(&self) -> Option<DateTime<Utc>> {
        let units = self.enrolled_in.iter();
        units
            .filter_map(|unit| self.ground_since(*unit, UnitGround::Pupil))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn suspended_role_opens_nothing() {
        let mut facts = MemberContext::sample(parta_access::PrincipalKind::ClassTeacher).unwrap();
        let unit = MemberContext::sample_unit();
        let [early, late] = [1, 2].map(|days| DateTime::UNIX_EPOCH + TimeDelta::days(days));
        facts.begin(unit, UnitGround::Teacher, late);
        facts.begin(unit, UnitGround::Teacher, early);
        assert_eq!(facts.ground_since(unit, UnitGround::Teacher), Some(early));
        assert_eq!(facts.ground_since(unit, UnitGround::Pupil), None);
        facts.suspend(&[Role::Teacher].into());
        assert_eq!(facts.ground_since(unit, UnitGround::Teacher), None);
    }
}
