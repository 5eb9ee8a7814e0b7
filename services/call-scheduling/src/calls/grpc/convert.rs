//! From the wire and back.
use chrono::{DateTime, NaiveDate, NaiveDateTime, SubsecRound as _, TimeDelta, Timelike as _, Utc};
use parta_ids::{MemberId, TypedId};
use parta_proto::parta::call_scheduling::v1 as pb;
use parta_status::{FieldViolations, RpcError, field};
use prost_types::{Duration, Timestamp};

use crate::{
    calls::{
        model::{Call, Draft, Format, kind::Kind},
        operations::PlanCall,
        storage::calls::format_number,
    },
    error::Error,
    recurrence::model::{End, MOST_OCCURRENCES, NotPlannable, Slot, Weekly},
};

const CIVIL: &str = "%Y-%m-%dT%H:%M:%S";

pub(crate) fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: time.timestamp_subsec_nanos().cast_signed(),
    }
}

pub(crate) fn whole_call(call: &Call) -> Result<pb::Call, Error> {
    let slots = call.schedule.slots()?;
    let first = slots.first().ok_or(NotPlannable)?.start;
    Ok(self::call(call, first))
}

pub(crate) fn call(from: &Call, first: DateTime<Utc>) -> pb::Call {
    let weekly = from.schedule.weekly.map(|w| pb::WeeklyRecurrence {
        interval: w.interval.into(),
        end: Some(match w.end {
            End::Until(date) => pb::weekly_recurrence::End::UntilDate(date.to_string()),
            End::Count(count) => pb::weekly_recurrence::End::Count(count.cast_signed()),
        }),
    });
    let state = if from.cancel_time.is_some() {
        pb::CallState::Cancelled
    } else {
        pb::CallState::Planned
    };
    pb::Call {
        id: from.id.to_string(),
        org_id: from.draft.org_id.to_string(),
        unit_id: from.draft.unit_id.to_string(),
        title: from.draft.title.clone(),
        kind: from.draft.kind.number().into(),
        organizer_id: from.organizer_id.to_string(),
        start_civil_time: from.schedule.start.format(CIVIL).to_string(),
        time_zone: from.schedule.zone.name().to_owned(),
        start_time: Some(timestamp(first)),
        duration: Some(Duration {
            seconds: from.schedule.duration.num_seconds(),
            nanos: 0,
        }),
        weekly,
        recurrence_rule: from.schedule.weekly.map(Weekly::text).unwrap_or_default(),
        format: format_number(from.draft.format).into(),
        room: from.draft.room.clone(),
        state: state.into(),
        announced: from.announced,
        participant_ids: from.draft.participants.iter().map(ToString::to_string).collect(),
        create_time: Some(timestamp(from.create_time)),
        etag: parta_storage::etag(from.revision),
    }
}

pub(crate) fn occurrence(call: &Call, slot: &Slot, cancelled: bool, may_join: bool) -> pb::Occurrence {
    pb::Occurrence {
        call_id: call.id.to_string(),
        start_time: Some(timestamp(slot.start)),
        end_time: Some(timestamp(slot.end)),
        start_civil_time: slot.civil.format(CIVIL).to_string(),
        time_zone: call.schedule.zone.name().to_owned(),
        unit_id: call.draft.unit_id.to_string(),
        title: call.draft.title.clone(),
        kind: call.draft.kind.number().into(),
        format: format_number(call.draft.format).into(),
        room: call.draft.room.clone(),
        organizer_id: call.organizer_id.to_string(),
        cancelled,
        may_join,
    }
}

/// A required time, cut to what both databases keep.
pub(crate) fn time(v: &mut FieldViolations, path: &str, given: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let found = given.and_then(|t| DateTime::from_timestamp(t.seconds, u32::try_from(t.nanos).ok()?));
    v.check(
        found.is_some(),
        path,
        "is required, a time between the years 1 and 9999",
    );
    found.map(|t| t.trunc_subsecs(6))
}

/// The two ids of most requests.
pub(crate) fn ids<A: TypedId, B: TypedId>(a: (&str, &str), b: (&str, &str)) -> Result<(A, B), RpcError> {
    let mut v = FieldViolations::default();
    let found = (field::id::<A>(&mut v, a.0, a.1), field::id::<B>(&mut v, b.0, b.1));
    v.finish()?;
    both(found)
}

/// After `finish` nothing is missing.
pub(crate) fn both<A, B>(found: (Option<A>, Option<B>)) -> Result<(A, B), RpcError> {
    match found {
        (Some(a), Some(b)) => Ok((a, b)),
        _ => Err(RpcError::internal("a violation was not noted")),
    }
}

fn weekly(v: &mut FieldViolations, from: &pb::WeeklyRecurrence) -> Option<Weekly> {
    let interval = u16::try_from(from.interval).ok().filter(|i| (1..=8).contains(i));
    v.check(interval.is_some(), "weekly.interval", "must be 1 to 8");
    let end = match &from.end {
        Some(pb::weekly_recurrence::End::UntilDate(text)) => {
            let date = text.parse::<NaiveDate>().ok();
            v.check(
                date.is_some(),
                "weekly.until_date",
                "must be a date such as 2027-05-31",
            );
            date.map(End::Until)
        }
        Some(pb::weekly_recurrence::End::Count(count)) => {
            let count = u32::try_from(*count)
                .ok()
                .filter(|c| (1..=u32::from(MOST_OCCURRENCES)).contains(c));
            v.check(
                count.is_some(),
                "weekly.count",
                format!("must be 1 to {MOST_OCCURRENCES}"),
            );
            count.map(End::Count)
        }
        None => {
            v.add("weekly.end", "until_date or count is required");
            None
        }
    };
    Some(Weekly {
        interval: interval?,
        end: end?,
    })
}

fn minutes(v: &mut FieldViolations, given: Option<&Duration>) -> TimeDelta {
    let span = given.filter(|d| d.nanos == 0 && d.seconds % 60 == 0 && (300..=43_200).contains(&d.seconds));
    v.check(
        span.is_some(),
        "duration",
        "must be whole minutes, 5 minutes to 12 hours",
    );
    TimeDelta::seconds(span.map_or(300, |d| d.seconds))
}

pub(crate) fn plan(from: &pb::PlanCallRequest) -> Result<PlanCall, RpcError> {
    let mut violations = FieldViolations::default();
    let v = &mut violations;
    let org_id = field::id(v, "org_id", &from.org_id);
    let unit_id = field::id(v, "unit_id", &from.unit_id);
    let title = field::text(v, "title", &from.title, 1..=200, false);
    let kind = Kind::of_number(from.kind);
    v.check(kind.is_some(), "kind", "is required and must be a known kind");
    let format = match from.format() {
        pb::CallFormat::Online => Some(Format::Online),
        pb::CallFormat::InPerson => Some(Format::InPerson),
        pb::CallFormat::Hybrid => Some(Format::Hybrid),
        pb::CallFormat::Unspecified => None,
    };
    v.check(format.is_some(), "format", "must be ONLINE, IN_PERSON or HYBRID");
    let least = usize::from(format.is_some_and(|f| f != Format::Online));
    let room = field::text(v, "room", &from.room, least..=100, false);
    let start = match from.start_civil_time.as_str() {
        "" => None,
        text => {
            let start = NaiveDateTime::parse_from_str(text, CIVIL)
                .ok()
                .filter(|s| s.nanosecond() == 0);
            v.check(
                start.is_some(),
                "start_civil_time",
                "must be a civil time such as 2026-09-01T08:30:00",
            );
            start
        }
    };
    let duration = minutes(v, from.duration.as_ref());
    let weekly = from.weekly.as_ref().and_then(|w| weekly(v, w));
    v.check(
        from.participant_ids.len() <= 50,
        "participant_ids",
        "must be at most 50",
    );
    let mut participants: Vec<MemberId> = Vec::new();
    for (i, text) in from.participant_ids.iter().enumerate().take(50) {
        participants.extend(field::id::<MemberId>(v, &format!("participant_ids[{i}]"), text));
    }
    participants.sort_unstable();
    participants.dedup();
    violations.finish()?;
    let ((org_id, unit_id), (kind, format)) = (both((org_id, unit_id))?, both((kind, format))?);
    let draft = Draft {
        org_id,
        unit_id,
        title,
        kind,
        format,
        room,
        participants,
    };
    Ok(PlanCall {
        draft,
        start,
        duration,
        weekly,
        announce: from.announce,
    })
}
