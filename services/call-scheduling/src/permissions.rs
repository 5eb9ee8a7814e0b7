//! The authorization table of the service, computed by its policy (`docs/permissions.md`).
use chrono::{DateTime, TimeDelta};
use parta_access::{Permission, PrincipalKind};
use parta_ids::{CallId, MemberId, TypedId as _, Uuid};
use parta_roster::MemberContext;

use crate::{
    calls::{
        model::{Call, Draft, Format, kind::Kind},
        policy,
    },
    recurrence::model::Schedule,
};

type Rule = fn(PrincipalKind) -> bool;

/// One row for each RPC and kind of principal. A person is asked about a lesson of the sample class that somebody else
/// organizes.
pub fn permissions() -> Vec<Permission> {
    let rules: [(&'static str, Rule); 9] = [
        ("parta.call_scheduling.v1.CallService/PlanCall", |k| {
            MemberContext::sample(k).is_some_and(|f| {
                policy::organize(&f, Kind::Lesson, MemberContext::sample_unit()).is_allowed()
            })
        }),
        ("parta.call_scheduling.v1.CallService/GetCall", |k| {
            MemberContext::sample(k).is_some_and(|f| policy::see(&f, &sample(&f)).is_allowed())
        }),
        ("parta.call_scheduling.v1.CallService/ListOccurrences", |k| {
            MemberContext::sample(k).is_some_and(|f| policy::list(&f).is_allowed())
        }),
        ("parta.call_scheduling.v1.CallService/CancelCall", manages),
        ("parta.call_scheduling.v1.CallService/CancelOccurrence", manages),
        // Announcing writes in the class's chats, where the administration has no seat.
        ("parta.call_scheduling.v1.CallService/AnnounceCall", |k| {
            manages(k) && MemberContext::sample(k).is_some_and(|f| f.teaches_in(MemberContext::sample_unit()))
        }),
        ("parta.call_scheduling.v1.CallService/IssueJoinToken", |k| {
            MemberContext::sample(k).is_some_and(|f| policy::join(&f, &sample(&f)).is_allowed())
        }),
        (
            "parta.call_scheduling.v1.CallSchedulingFeedService/Watch",
            follows,
        ),
        (
            "parta.call_scheduling.v1.CallSchedulingFeedService/Snapshot",
            follows,
        ),
    ];
    let mut rows = Vec::with_capacity(rules.len() * PrincipalKind::ALL.len());
    for (rpc, own) in rules {
        for kind in PrincipalKind::ALL {
            let own = own(kind);
            // Services see every organization; nothing else crosses the border.
            rows.push(Permission {
                rpc,
                kind,
                own,
                foreign: own && kind == PrincipalKind::Service,
            });
        }
    }
    rows
}

fn manages(kind: PrincipalKind) -> bool {
    MemberContext::sample(kind).is_some_and(|f| policy::manage(&f, &sample(&f)).is_allowed())
}

fn follows(kind: PrincipalKind) -> bool {
    matches!(kind, PrincipalKind::Service | PrincipalKind::ServiceAccount)
}

/// Somebody else's lesson of the sample class.
fn sample(facts: &MemberContext) -> Call {
    Call {
        id: CallId::from_uuid(Uuid::from_u128(9)),
        draft: Draft {
            org_id: facts.org_id,
            unit_id: MemberContext::sample_unit(),
            title: String::new(),
            kind: Kind::Lesson,
            format: Format::Online,
            room: String::new(),
            participants: Vec::new(),
        },
        of_class: true,
        organizer_id: MemberId::from_uuid(Uuid::from_u128(8)),
        schedule: Schedule {
            start: DateTime::UNIX_EPOCH.naive_utc(),
            zone: chrono_tz::UTC,
            duration: TimeDelta::minutes(45),
            weekly: None,
        },
        announced: false,
        cancel_time: None,
        create_time: DateTime::UNIX_EPOCH,
        revision: 1,
    }
}
