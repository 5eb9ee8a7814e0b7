//! Facts that a decision has ended, so that an import does not begin them again (F9).
use std::collections::{BTreeMap, BTreeSet};

use parta_access::OrgScope;
use parta_database::Tx;
use parta_ids::{MemberId, UnitId};
use parta_roster::label_key;

use super::{
    model::{ChangeKind as Kind, NoEffect, Outcome},
    plan::{self, Change, CurrentRoster},
};
use crate::{
    assignments, enrollments,
    error::Error,
    guardianships::{self, Obstacle},
};

impl From<Obstacle> for NoEffect {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Ended => Self::RelationEnded,
            Obstacle::Limited => Self::RelationLimited,
        }
    }
}

/// Returns why a decision forbids a change about people who have records.
pub(super) async fn obstacle(
    tx: &Tx,
    scope: &OrgScope,
    change: &Change,
    member: MemberId,
    child: Option<MemberId>,
    unit: Option<UnitId>,
) -> Result<Option<NoEffect>, Error> {
    Ok(match (change.kind, child, unit) {
        (Kind::BeginEnrollment, _, Some(unit)) => {
            let ended = enrollments::is_ended_by_decision(tx, scope, member, unit).await?;
            ended.then_some(NoEffect::ClassDecided)
        }
        (Kind::BeginAssignment, _, Some(unit)) => {
            let kind = plan::assignment_kind(change.details.value)?;
            let ended = assignments::is_ended_by_decision(tx, scope, member, unit, kind).await?;
            ended.then_some(NoEffect::AssignmentEnded)
        }
        (Kind::EstablishGuardianship, Some(child), _) => {
            let obstacle = guardianships::obstacle(tx, scope, member, child).await?;
            obstacle.map(NoEffect::from)
        }
        _ => None,
    })
}

/// Marks the planned changes that a decision forbids. A pupil whom a decision has moved stays where the
/// decision has put him: no enrollment of his ends either.
pub(super) async fn mark(
    tx: &Tx,
    scope: &OrgScope,
    changes: &mut [Change],
    current: &CurrentRoster,
    units: &BTreeMap<String, UnitId>,
) -> Result<(), Error> {
    let mut decided = BTreeSet::new();
    for change in changes.iter_mut().filter(|c| c.outcome == Outcome::Planned) {
        let Some(member) = current.member_id(&change.source_key) else {
            continue;
        };
        let child = current.member_id(&change.details.other_key);
        let unit = units.get(&label_key(&change.details.unit_label)).copied();
        if let Some(reason) = obstacle(tx, scope, change, member, child, unit).await? {
            change.outcome = Outcome::NoEffect(reason);
            if reason == NoEffect::ClassDecided {
                decided.insert(change.source_key.clone());
            }
        }
    }
    for change in changes {
        if change.kind == Kind::EndEnrollment && decided.contains(&change.source_key) {
            change.outcome = Outcome::NoEffect(NoEffect::ClassDecided);
        }
    }
    Ok(())
}
