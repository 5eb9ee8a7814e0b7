//! F17: the members in the chats of a unit, in whichever order the two feeds arrive.
use std::collections::BTreeSet;

use chrono::TimeDelta;
use parta_ids::{AssignmentId, DutyId, MemberId, SuspensionId, UnitId};
use parta_proto::timestamp;
use parta_proto_chat::v1::ChatKind;
use parta_proto_membership::v1::{self as members, membership_event::Payload as Member};
use parta_proto_org_registry::v1::{self as orgs, org_registry_event::Payload as Org};
use parta_testkit::on_both;

use crate::tests::school::*;

// The feeds of a school in which a class is archived while facts of its members are under way: a ground
// counts if it began before, whichever of the two feeds is late.
// Covers: F17 allowed, F17 refused
on_both!(
    archived_class_admits_by_the_times_of_facts,
    |database| async move {
        let school = School::open(database).await;
        let ids = &school.fixture.env;
        let archive_time = school.now();
        for archived_first in [true, false] {
            let class: UnitId = ids.id();
            let created = school.fixture.org_registry(school.org, vec![unit(class, "1В")]);
            school.wait_for(&created.await).await;
            let archived = Org::UnitArchived(orgs::UnitArchived {
                unit_id: class.to_string(),
                archive_time: Some(timestamp(archive_time)),
            });
            let archive = async || {
                let token = school.fixture.org_registry(school.org, vec![archived.clone()]);
                school.wait_for(&token.await).await;
            };
            if archived_first {
                archive().await;
            }
            let mut expected = BTreeSet::new();
            let mut named = Vec::new();
            for (when, shift) in [("before", -1), ("after", 1)] {
                let begin = archive_time + TimeDelta::seconds(shift);
                let [
                    pupil,
                    parent,
                    teacher,
                    substitute,
                    leader,
                    suspended,
                    psychologist,
                ] = std::array::from_fn(|_| ids.id::<MemberId>());
                let assigned = |member: MemberId, substitution, kind: AssignmentKind| {
                    Member::AssignmentCreated(members::AssignmentCreated {
                        assignment_id: ids.id::<AssignmentId>().to_string(),
                        member_id: member.to_string(),
                        unit_id: class.to_string(),
                        kind: kind.into(),
                        substitution,
                        begin_time: Some(timestamp(begin)),
                    })
                };
                let suspension_id = ids.id::<SuspensionId>().to_string();
                let scope = members::duty_scope::Scope::UnitId(class.to_string());
                school
                    .apply(vec![
                        admitted(pupil, Role::Pupil, false),
                        admitted(parent, Role::Parent, false),
                        admitted(teacher, Role::Teacher, true),
                        admitted(substitute, Role::Teacher, true),
                        admitted(leader, Role::Teacher, true),
                        admitted(suspended, Role::Teacher, true),
                        admitted(psychologist, Role::Staff, false),
                        enrolled_since(ids.id(), pupil, class, begin),
                        school.related_since(ids.id(), parent, pupil, Some(begin)),
                        assigned(teacher, false, AssignmentKind::SubjectTeacher),
                        assigned(substitute, true, AssignmentKind::SubjectTeacher),
                        assigned(leader, false, AssignmentKind::ClassTeacher),
                        assigned(suspended, false, AssignmentKind::SubjectTeacher),
                        Member::DutyAssigned(members::DutyAssigned {
                            duty_id: ids.id::<DutyId>().to_string(),
                            member_id: psychologist.to_string(),
                            kind: members::DutyKind::Psychologist.into(),
                            scope: Some(members::DutyScope { scope: Some(scope) }),
                            begin_time: Some(timestamp(begin)),
                        }),
                        Member::MemberSuspended(members::MemberSuspended {
                            suspension_id: suspension_id.clone(),
                            member_id: suspended.to_string(),
                            roles: vec![],
                        }),
                    ])
                    .await;
                let reinstated = Member::MemberReinstated(members::MemberReinstated { suspension_id });
                let people = [
                    (pupil, "pupil"),
                    (parent, "parent"),
                    (teacher, "teacher"),
                    (substitute, "substitute"),
                    (leader, "leader"),
                    (suspended, "suspended"),
                    (psychologist, "psychologist"),
                ];
                named.push((when, people, reinstated));
                if when == "before" {
                    expected.extend(people.map(|(_, name)| (when, name)));
                }
            }
            if !archived_first {
                archive().await;
            }
            // A suspension that is lifted gives back what there was.
            let reinstated = named.iter().map(|(_, _, event)| event.clone());
            school.apply(reinstated.collect()).await;
            let mut found = BTreeSet::new();
            for (when, people, _) in &named {
                for (member, name) in people {
                    let units = school.kinds(*member).await;
                    if units.iter().any(|(_, unit)| *unit == class.to_string()) {
                        found.insert((*when, *name));
                    }
                }
            }
            assert_eq!(found, expected, "archived first: {archived_first}");
        }
    }
);

// Covers: F3 allowed
on_both!(
    holder_of_a_duty_is_in_the_room_of_a_later_unit,
    |database| async move {
        let school = School::open(database).await;
        let ids = &school.fixture.env;
        let (class, psychologist): (UnitId, MemberId) = (ids.id(), ids.id());
        let scope = members::duty_scope::Scope::UnitId(class.to_string());
        let assigned = Member::DutyAssigned(members::DutyAssigned {
            duty_id: ids.id::<DutyId>().to_string(),
            member_id: psychologist.to_string(),
            kind: members::DutyKind::Psychologist.into(),
            scope: Some(members::DutyScope { scope: Some(scope) }),
            begin_time: Some(timestamp(school.now())),
        });
        school
            .apply(vec![admitted(psychologist, Role::Staff, false), assigned])
            .await;
        let created = school.fixture.org_registry(school.org, vec![unit(class, "1В")]);
        school.wait_for(&created.await).await;
        let room = (ChatKind::ClassPupils, class.to_string());
        assert!(school.kinds(psychologist).await.contains(&room));
    }
);
