//! The calls and the judgments of those in their rooms depend on the two feeds only, and not on the order in
//! which they arrive.
use chrono::{DateTime, TimeDelta, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, Tx};
use parta_ids::{CallId, MemberId, OrgId, SessionId, TypedId as _, Uuid};
use parta_service_testkit::{
    ServiceEnv,
    history::{FeedsCommute, MEMBERS, Part, UNITS, id},
};
use parta_testkit::{TestDatabase, on_both};

use crate::{
    assembly::roster_observer,
    calls::{
        model::{Call, Draft, Format, Kind},
        storage::calls,
    },
    recurrence::Schedule,
    rooms::{self, Entrant, Label, Room, Standing},
};

const CHECK: FeedsCommute = FeedsCommute {
    histories: 8,
    skipped: &[],
    // The id of the next look into a room is random.
    parts: &[
        Part {
            table: "job",
            only: "TRUE",
            without: &["job_id", "request_id", "due_millis"],
        },
        Part {
            table: "room",
            only: "TRUE",
            without: &["look_id"],
        },
    ],
    names: None,
    filled: &[
        "call",
        "call_participant",
        "room",
        "room_entrant",
        "job",
        "roster_unit",
    ],
};

async fn open(database: &TestDatabase) -> ServiceEnv {
    let env = ServiceEnv::open(database, "call-scheduling", crate::migrations()).await;
    env.observed_by(roster_observer())
}

/// Plans a call of each unit that is held now and one of tomorrow. Every member is in the room of each call
/// that is held, and the later ones name one member.
async fn plan_calls(tx: &Tx, org: OrgId) -> Result<(), StorageError> {
    let scope = &OrgScope::for_consumer("test", org);
    let members: Vec<MemberId> = (0..u32::from(MEMBERS)).map(id).collect();
    let days = [
        ("2026-09-01T10:30:00", &[][..]),
        ("2026-09-02T10:30:00", &members[..1]),
    ];
    for unit in 0..u32::from(UNITS) {
        for (day, (start, participants)) in (0_u32..).zip(days) {
            let number = unit * 10 + day;
            let call = Call {
                id: CallId::from_uuid(Uuid::from_u128(1_000 + u128::from(number))),
                draft: Draft {
                    org_id: org,
                    unit_id: id(unit),
                    title: "Дроби".to_owned(),
                    kind: Kind::Lesson,
                    format: Format::Online,
                    room: String::new(),
                    participants: participants.to_vec(),
                },
                unit_is_class: true,
                organizer_id: id(0),
                schedule: Schedule {
                    start: start.parse().unwrap(),
                    zone: chrono_tz::Europe::Moscow,
                    duration: TimeDelta::hours(2),
                    weekly: None,
                },
                announced: false,
                canceled: None,
                create_time: tx.now(),
                revision: 1,
            };
            let slots = call.schedule.slots().unwrap();
            calls::insert(tx, scope, &call, &slots).await?;
            let (start_time, close_time): (DateTime<Utc>, _) =
                (slots[0].start, tx.now() + TimeDelta::hours(30));
            let room = Room {
                call_id: call.id,
                start_time,
            };
            rooms::open(tx, scope, room, close_time).await?;
            for member_id in &members {
                let entrant = Entrant {
                    room,
                    identity: member_id.to_string(),
                    member_id: *member_id,
                    session_id: SessionId::from_uuid(Uuid::from_u128(1)),
                    standing: Standing {
                        host: false,
                        label: Label::Pupil,
                    },
                    close_time,
                    session_ended: false,
                };
                rooms::admit(tx, scope, &entrant).await?;
            }
        }
    }
    // Those of the admission itself say nothing about the feeds.
    tx.execute_sql("DELETE FROM job", []).await?;
    Ok(())
}

on_both!(
    order_of_the_feeds_decides_nothing_in_calls,
    |database| async move {
        let prepare = async |env: &ServiceEnv, org: OrgId| {
            let planned = env.db.write(|tx| async move { plan_calls(&tx, org).await });
            planned.await.unwrap();
        };
        CHECK.check(&database, open, prepare).await;
    }
);
