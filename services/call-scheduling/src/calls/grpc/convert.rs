//! Converts calls from and to protobuf messages.
use chrono::{DateTime, NaiveDateTime, TimeDelta, Timelike as _, Utc};
use parta_ids::MemberId;
use parta_proto::timestamp;
use parta_proto_call_scheduling::v1 as pb;
use parta_status::{FieldViolations, field};
use prost_types::{Duration, Timestamp};

use super::super::{
    model::{CallView, CancelReason, Draft, Format, Kind, OccurrenceView},
    operations::PlanCall,
};
use crate::recurrence::{End, MAX_OCCURRENCES, Weekly};

/// The format of a civil time.
const CIVIL: &str = "%Y-%m-%dT%H:%M:%S";
/// The largest number of named participants.
const MAX_PARTICIPANTS: usize = 50;
/// The shortest and the longest occurrence, in seconds.
const DURATION_SECONDS: std::ops::RangeInclusive<i64> = 300..=43_200;

pub(crate) fn call(shown: &CallView) -> pb::Call {
    let (call, draft) = (&shown.call, &shown.call.draft);
    let weekly = call.schedule.weekly.map(|w| pb::WeeklyRecurrence {
        interval: w.interval.into(),
        end: Some(match w.end {
            End::Until(date) => pb::weekly_recurrence::End::UntilDate(date.to_string()),
            End::Count(count) => pb::weekly_recurrence::End::Count(count.cast_signed()),
        }),
    });
    let state = if call.canceled.is_some() {
        pb::CallState::Canceled
    } else {
        pb::CallState::Planned
    };
    let cancel_reason = match call.canceled.map(|canceled| canceled.reason) {
        None => pb::CallCancelReason::Unspecified,
        Some(CancelReason::Member) => pb::CallCancelReason::Member,
        Some(CancelReason::UnitArchived) => pb::CallCancelReason::UnitArchived,
    };
    pb::Call {
        id: call.id.to_string(),
        org_id: draft.org_id.to_string(),
        unit_id: draft.unit_id.to_string(),
        title: draft.title.clone(),
        kind: draft.kind.number().into(),
        organizer_id: call.organizer_id.to_string(),
        start_civil_time: call.schedule.start.format(CIVIL).to_string(),
        time_zone: call.schedule.zone.name().to_owned(),
        start_time: Some(timestamp(shown.start_time)),
        duration: call.schedule.duration.to_std().ok().map(parta_proto::duration),
        weekly,
        recurrence_rule: call.schedule.weekly.map(Weekly::text).unwrap_or_default(),
        format: format_to_proto(draft.format).into(),
        room: draft.room.clone(),
        state: state.into(),
        announced: call.announced,
        participant_ids: draft.participants.iter().map(ToString::to_string).collect(),
        create_time: Some(timestamp(call.create_time)),
        etag: parta_mutations::etag(call.revision),
        cancel_reason: cancel_reason.into(),
    }
}

pub(super) fn occurrence(shown: &OccurrenceView) -> pb::Occurrence {
    let (call, draft, slot) = (&shown.call, &shown.call.draft, &shown.slot);
    pb::Occurrence {
        call_id: call.id.to_string(),
        start_time: Some(timestamp(slot.start)),
        end_time: Some(timestamp(slot.end)),
        start_civil_time: slot.civil.format(CIVIL).to_string(),
        time_zone: call.schedule.zone.name().to_owned(),
        unit_id: draft.unit_id.to_string(),
        title: draft.title.clone(),
        kind: draft.kind.number().into(),
        format: format_to_proto(draft.format).into(),
        room: draft.room.clone(),
        organizer_id: call.organizer_id.to_string(),
        canceled: shown.canceled,
        may_join: shown.may_join,
    }
}

fn format_to_proto(format: Format) -> pb::CallFormat {
    match format {
        Format::Online => pb::CallFormat::Online,
        Format::InPerson => pb::CallFormat::InPerson,
        Format::Hybrid => pb::CallFormat::Hybrid,
    }
}

fn format_from_proto(format: pb::CallFormat) -> Option<Format> {
    match format {
        pb::CallFormat::Online => Some(Format::Online),
        pb::CallFormat::InPerson => Some(Format::InPerson),
        pb::CallFormat::Hybrid => Some(Format::Hybrid),
        pb::CallFormat::Unspecified => None,
    }
}

/// Decodes a required time, truncated to the precision of both databases.
pub(crate) fn time(v: &mut FieldViolations, path: &str, given: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let found = given.and_then(parta_proto::time);
    v.check(
        found.is_some(),
        path,
        "is required, a time between the years 1 and 9999",
    );
    found
}

fn weekly(v: &mut FieldViolations, from: &pb::WeeklyRecurrence) -> Option<Weekly> {
    let interval = u16::try_from(from.interval).ok().filter(|i| (1..=8).contains(i));
    v.check(interval.is_some(), "weekly.interval", "must be 1 to 8");
    let end = match &from.end {
        Some(pb::weekly_recurrence::End::UntilDate(text)) => {
            field::date(v, "weekly.until_date", text).map(End::Until)
        }
        Some(pb::weekly_recurrence::End::Count(count)) => {
            let count = u32::try_from(*count)
                .ok()
                .filter(|c| (1..=u32::from(MAX_OCCURRENCES)).contains(c));
            v.check(
                count.is_some(),
                "weekly.count",
                format!("must be 1 to {MAX_OCCURRENCES}"),
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

fn duration(v: &mut FieldViolations, given: Option<&Duration>) -> Option<TimeDelta> {
    let length =
        given.filter(|d| d.nanos == 0 && d.seconds % 60 == 0 && DURATION_SECONDS.contains(&d.seconds));
    v.check(
        length.is_some(),
        "duration",
        "must be whole minutes, 5 minutes to 12 hours",
    );
    length.map(|d| TimeDelta::seconds(d.seconds))
}

/// Decodes an optional civil time; the outer `None` is a violation.
fn civil(v: &mut FieldViolations, text: &str) -> Option<Option<NaiveDateTime>> {
    if text.is_empty() {
        return Some(None);
    }
    let start = NaiveDateTime::parse_from_str(text, CIVIL)
        .ok()
        .filter(|s| s.nanosecond() == 0);
    v.check(
        start.is_some(),
        "start_civil_time",
        "must be a civil time such as 2026-09-01T08:30:00",
    );
    start.map(Some)
}

fn participants(v: &mut FieldViolations, given: &[String]) -> Vec<MemberId> {
    v.check(
        given.len() <= MAX_PARTICIPANTS,
        "participant_ids",
        format!("must be at most {MAX_PARTICIPANTS}"),
    );
    let mut found: Vec<MemberId> = Vec::new();
    for (i, text) in given.iter().enumerate().take(MAX_PARTICIPANTS) {
        found.extend(field::id::<MemberId>(v, &format!("participant_ids[{i}]"), text));
    }
    found.sort_unstable();
    found.dedup();
    found
}

pub(super) fn plan(v: &mut FieldViolations, from: &pb::PlanCallRequest) -> Option<PlanCall> {
    let org_id = field::id(v, "org_id", &from.org_id);
    let unit_id = field::id(v, "unit_id", &from.unit_id);
    let title = field::name(v, "title", &from.title, 1..=200);
    let kind = Kind::from_number(from.kind);
    v.check(kind.is_some(), "kind", "is required and must be a known kind");
    let format = format_from_proto(from.format());
    v.check(format.is_some(), "format", "must be ONLINE, IN_PERSON or HYBRID");
    let min_length = usize::from(format.is_some_and(|f| f != Format::Online));
    let room = field::name(v, "room", &from.room, min_length..=100);
    let start = civil(v, &from.start_civil_time);
    let duration = duration(v, from.duration.as_ref());
    let weekly = from.weekly.as_ref().map(|w| weekly(v, w));
    let participants = participants(v, &from.participant_ids);
    Some(PlanCall {
        draft: Draft {
            org_id: org_id?,
            unit_id: unit_id?,
            title,
            kind: kind?,
            format: format?,
            room,
            participants,
        },
        start: start?,
        duration: duration?,
        weekly: match weekly {
            Some(weekly) => Some(weekly?),
            None => None,
        },
    })
}
