//! Applies changes of one kind that follow each other. Those of the kinds of which an import has hundreds are
//! read and written together; the result is that of one after the other.
use std::collections::{BTreeMap, BTreeSet};

use parta_ids::MemberId;

use super::{
    apply::Applier,
    model::{ChangeKind as Kind, NoEffect, Outcome},
    plan::{self, Change},
};
use crate::{assignments, enrollments, error::Error, guardianships};

/// A change of a run: its outcome, or what it needs to be made.
enum Step<T> {
    Ended(Outcome),
    Make(T),
}

impl Applier<'_> {
    /// Applies changes of one kind, as [`Applier::apply`] does with each. Returns their outcomes.
    pub(super) async fn apply_run(&mut self, changes: &[&Change]) -> Result<Vec<Outcome>, Error> {
        match changes.first().map(|change| change.kind) {
            Some(Kind::CreateMember) => self.create_members(changes).await,
            Some(Kind::BeginEnrollment) => self.begin_enrollments(changes).await,
            Some(Kind::BeginAssignment) => self.begin_assignments(changes).await,
            Some(Kind::EstablishGuardianship) => self.establish_guardianships(changes).await,
            _ => {
                let mut outcomes = Vec::with_capacity(changes.len());
                for change in changes {
                    outcomes.push(self.apply(change).await?);
                }
                Ok(outcomes)
            }
        }
    }

    async fn create_members(&mut self, changes: &[&Change]) -> Result<Vec<Outcome>, Error> {
        let (mut outcomes, mut made) = (Vec::with_capacity(changes.len()), Vec::new());
        let mut keys = BTreeSet::new();
        for change in changes {
            let outcome = if self.awaits_person(change) {
                Outcome::Waiting
            } else if let Some(reason) = self.known_obstacle(change)? {
                Outcome::NoEffect(reason)
            } else if self.is_own(change)? {
                self.waiting.insert(change.source_key.clone());
                Outcome::Waiting
            } else if keys.insert(change.source_key.as_str()) {
                made.push(*change);
                Outcome::Done
            } else {
                Outcome::NoEffect(NoEffect::AlreadySo)
            };
            outcomes.push(outcome);
        }
        self.create_expected_members(&made).await?;
        Ok(outcomes)
    }

    /// Returns the ids of the people of changes who have records.
    fn members(&self, changes: &[&Change]) -> BTreeSet<MemberId> {
        let people = changes.iter().filter_map(|c| self.people.get(&c.source_key));
        people.map(|record| record.id).collect()
    }

    async fn begin_enrollments(&mut self, changes: &[&Change]) -> Result<Vec<Outcome>, Error> {
        let (tx, scope) = (self.tx, self.scope);
        let decided = enrollments::ended_by_decision(tx, scope, &self.members(changes)).await?;
        let steps = self.steps(changes, |applier, change| {
            let member = applier.people.get(&change.source_key)?.id;
            let pair = (member, applier.unit(change)?);
            let reason = decided.contains(&pair).then_some(NoEffect::ClassDecided);
            Some((pair, reason))
        })?;
        let begun = enrollments::begin_all(tx, scope, &to_make(&steps)).await?;
        Ok(outcomes(steps, begun.iter().map(Option::is_some)))
    }

    async fn begin_assignments(&mut self, changes: &[&Change]) -> Result<Vec<Outcome>, Error> {
        let (tx, scope) = (self.tx, self.scope);
        let decided = assignments::ended_by_decision(tx, scope, &self.members(changes)).await?;
        let mut kinds = BTreeMap::new();
        for change in changes {
            let number = change.details.value;
            kinds.insert(number, plan::assignment_kind(number)?);
        }
        let steps = self.steps(changes, |applier, change| {
            let member = applier.people.get(&change.source_key)?.id;
            let (unit, number) = (applier.unit(change)?, change.details.value);
            let is_decided = decided.contains(&(member, unit, number));
            let place = (member, unit, *kinds.get(&number)?);
            Some((place, is_decided.then_some(NoEffect::AssignmentEnded)))
        })?;
        let begun = assignments::begin_all(tx, scope, &to_make(&steps)).await?;
        Ok(outcomes(steps, begun))
    }

    async fn establish_guardianships(&mut self, changes: &[&Change]) -> Result<Vec<Outcome>, Error> {
        let (tx, scope) = (self.tx, self.scope);
        let obstacles = guardianships::obstacles(tx, scope, &self.members(changes)).await?;
        let steps = self.steps(changes, |applier, change| {
            let guardian = applier.people.get(&change.source_key)?.id;
            let child = applier.people.get(&change.details.other_key)?.id;
            let obstacle = obstacles.get(&(guardian, child)).copied();
            Some(((guardian, child), obstacle.map(NoEffect::from)))
        })?;
        let made = guardianships::establish_all(tx, scope, &to_make(&steps)).await?;
        Ok(outcomes(steps, made))
    }

    /// Decides about changes in the order of [`Applier::apply`]. `decision` returns what a change needs to be
    /// made, and the decision that forbids it.
    fn steps<T>(
        &self,
        changes: &[&Change],
        decision: impl Fn(&Self, &Change) -> Option<(T, Option<NoEffect>)>,
    ) -> Result<Vec<Step<T>>, Error> {
        let mut steps = Vec::with_capacity(changes.len());
        for change in changes {
            steps.push(if self.awaits_person(change) {
                Step::Ended(Outcome::Waiting)
            } else if let Some(reason) = self.known_obstacle(change)? {
                Step::Ended(Outcome::NoEffect(reason))
            } else {
                match decision(self, change) {
                    Some((_, Some(reason))) => Step::Ended(Outcome::NoEffect(reason)),
                    Some(_) if self.is_own(change)? => Step::Ended(Outcome::Waiting),
                    Some((needs, None)) => Step::Make(needs),
                    // The records and the class are known, or there is an obstacle.
                    None => Step::Ended(Outcome::NoEffect(NoEffect::AlreadySo)),
                }
            });
        }
        Ok(steps)
    }
}

/// Returns what the changes that are to be made need.
fn to_make<T: Copy>(steps: &[Step<T>]) -> Vec<T> {
    let needs = steps.iter().filter_map(|step| match step {
        Step::Make(needs) => Some(*needs),
        Step::Ended(_) => None,
    });
    needs.collect()
}

/// Returns the outcomes of changes. `is_made` says for each that was to be made whether it was not so before.
fn outcomes<T>(steps: Vec<Step<T>>, is_made: impl IntoIterator<Item = bool>) -> Vec<Outcome> {
    let mut is_made = is_made.into_iter();
    let outcome = |step| match step {
        Step::Ended(outcome) => outcome,
        Step::Make(_) if is_made.next().unwrap_or_default() => Outcome::Done,
        Step::Make(_) => Outcome::NoEffect(NoEffect::AlreadySo),
    };
    steps.into_iter().map(outcome).collect()
}
