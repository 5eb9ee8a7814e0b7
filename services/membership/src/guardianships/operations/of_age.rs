//! The end of relations by time: limits whose last day has passed, and students who are of age.
use chrono::NaiveDate;
use parta_access::{OrgScope, authorize};
use parta_database::Tx;
use parta_edge::Mutation;
use parta_ids::{GuardianshipId, MemberId, OrgId};
use parta_roster::Roster;

use super::{KIND, audit, end_limit};
use crate::{
    context::{Context, Run},
    endings::{self, EndingKind, end_of_day, time_zone, today},
    error::Error,
    guardianships::{
        calendar, events,
        model::{AdultAccess, Guardianship},
        policy, storage,
    },
};

/// Ends the limits whose last day has passed, and what relations lose after the 18th birthday of their
/// students. The job of `end_due` calls it when a day has ended in the time zone of the organization. It does
/// nothing when nothing is due.
pub(crate) async fn end_due(roster: &Roster, tx: &Tx, scope: &OrgScope) -> Result<(), Error> {
    let org = scope.org_id();
    let today = today(roster, tx, org).await?;
    for limit in storage::limits::lock_due(tx, scope, today).await? {
        end_limit(tx, scope, limit.id).await?;
        let pair = (limit.guardian_id, limit.child_id);
        let left = storage::limits::find(tx, scope, pair).await?.limits();
        events::limited(tx, org, pair, left).await?;
    }
    let latest = calendar::latest_birth_date_of_age(today);
    let students = storage::children::list_born_until(tx, scope, latest).await?;
    for chunk in students.chunks(1_000) {
        apply(tx, scope, chunk, today).await?;
        for (student, born) in chunk {
            schedule(roster, tx, scope, *student, *born).await?;
        }
    }
    Ok(())
}

/// Whether the birth date of a member is known and the member is of age.
pub(crate) async fn is_of_age(
    roster: &Roster,
    tx: &Tx,
    scope: &OrgScope,
    member: MemberId,
) -> Result<bool, Error> {
    let Some(born) = storage::children::find(tx, scope, member).await?.birth_date else {
        return Ok(false);
    };
    let zone = time_zone(roster, tx, scope.org_id()).await?;
    Ok(calendar::is_of_age(born, calendar::local_date(tx.now(), zone)))
}

/// Sets the time at which the relations of a student lose something next: after the 18th birthday, and then
/// after the school year of it.
pub(super) async fn schedule(
    roster: &Roster,
    tx: &Tx,
    scope: &OrgScope,
    student: MemberId,
    born: NaiveDate,
) -> Result<(), Error> {
    let org = scope.org_id();
    let zone = time_zone(roster, tx, org).await?;
    let today = calendar::local_date(tx.now(), zone);
    let birthday = calendar::majority(born);
    let last_day = [birthday, calendar::school_year_end(birthday)]
        .into_iter()
        .find(|day| today <= *day);
    match last_day {
        Some(day) => {
            let due = end_of_day(day, zone);
            endings::schedule(tx, org, EndingKind::Majority, student, due).await?;
        }
        None => endings::forget(tx, org, EndingKind::Majority, student).await?,
    }
    Ok(())
}

/// Ends what the relations of these students lose by their age.
pub(super) async fn apply(
    tx: &Tx,
    scope: &OrgScope,
    students: &[(MemberId, NaiveDate)],
    today: NaiveDate,
) -> Result<(), Error> {
    let of_age: Vec<_> = students
        .iter()
        .filter(|(_, born)| calendar::is_of_age(*born, today))
        .copied()
        .collect();
    let ids: Vec<MemberId> = of_age.iter().map(|(student, _)| *student).collect();
    for row in storage::lock_of_children(tx, scope, &ids).await? {
        let born = of_age.iter().find(|(student, _)| *student == row.child_id);
        if let Some((_, born)) = born {
            apply_to(tx, scope, row, *born, today).await?;
        }
    }
    Ok(())
}

/// Ends what a locked relation loses by the age of its student.
async fn apply_to(
    tx: &Tx,
    scope: &OrgScope,
    row: Guardianship,
    born: NaiveDate,
    today: NaiveDate,
) -> Result<(), Error> {
    let year_has_ended = calendar::school_year_end(calendar::majority(born)) < today;
    let ends = match row.adult_access {
        AdultAccess::Full => return Ok(()),
        AdultAccess::None => true,
        AdultAccess::UnitRooms | AdultAccess::NotChosen => year_has_ended,
    };
    if ends {
        let ended = Guardianship {
            end_time: Some(tx.now()),
            end_cause: Some("The student is of age.".to_owned()),
            ..row
        };
        storage::update(tx, scope, &ended).await?;
        return events::ended(tx, ended.org_id, ended.id).await;
    }
    if !row.unit_rooms_only {
        let changed = Guardianship {
            unit_rooms_only: true,
            ..row
        };
        storage::update(tx, scope, &changed).await?;
        events::changed(tx, &changed).await?;
    }
    Ok(())
}

/// Chooses what stays of a relation after the 18th birthday of the calling student.
#[derive(Debug)]
pub(crate) struct ChooseAdultAccess {
    pub(crate) org_id: OrgId,
    pub(crate) guardianship_id: GuardianshipId,
    pub(crate) access: AdultAccess,
}

impl Mutation for ChooseAdultAccess {
    type Context = Context;
    type Grant = (OrgScope, Guardianship);
    type Outcome = ();
    type View = ();
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<(OrgScope, Guardianship), Error> {
        let Run { context, tx, caller } = run;
        let facts = context.facts(tx, caller, self.org_id).await?;
        let scope = parta_access::belongs(caller, self.org_id)?;
        let row = storage::lock(tx, &scope, self.guardianship_id).await?;
        // A guardian may know of the relation. Others learn nothing.
        let row = row.filter(|row| [row.child_id, row.guardian_id].contains(&facts.member_id));
        let row = row.ok_or_else(|| Error::unknown(KIND, self.guardianship_id))?;
        let scope = authorize(caller, self.org_id, policy::choose(&facts, row.child_id))?;
        Ok((scope, row))
    }

    async fn act(&self, run: Run<'_>, (scope, row): &(OrgScope, Guardianship)) -> Result<(), Error> {
        let Run { context, tx, caller } = run;
        if row.has_ended() {
            return Err(Error::unknown(KIND, row.id));
        }
        let today = today(&context.roster, tx, self.org_id).await?;
        let record = storage::children::find(tx, scope, row.child_id).await?;
        let born = record
            .birth_date
            .filter(|born| calendar::may_choose(*born, today))
            .ok_or_else(Error::choice_not_open)?;
        let mut changed = Guardianship {
            adult_access: self.access,
            ..row.clone()
        };
        if self.access == AdultAccess::Full && changed.unit_rooms_only {
            changed.unit_rooms_only = false;
            events::changed(tx, &changed).await?;
        }
        storage::update(tx, scope, &changed).await?;
        audit(tx, caller, &changed).await?;
        if calendar::is_of_age(born, today) {
            apply_to(tx, scope, changed, born, today).await?;
        }
        Ok(())
    }

    async fn view(&self, _: Run<'_>, _: &(OrgScope, Guardianship), (): &()) -> Result<(), Error> {
        Ok(())
    }
}
