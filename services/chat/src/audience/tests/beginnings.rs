//! F22: random histories of grounds, and the policy on what newcomers read.
use chrono::{DateTime, Utc};
use parta_ids::{AssignmentId, EnrollmentId, GuardianshipId, MemberId};
use parta_proto_chat::v1::ChatKind::*;
use parta_proto_membership::v1::{self as members, membership_event::Payload as Member};
use parta_proto_org_registry::v1::{self as orgs, org_registry_event::Payload as Org};
use parta_testkit::on_both;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use crate::{
    entries::{entry, participant},
    tests::school::*,
};

// The policy applies to those who are in the chats and to those who come.
// Covers: F22 allowed, F22 refused, R9 allowed
on_both!(policy_decides_what_newcomers_read, |database| async move {
    use orgs::HistoryForNewcomers::{FromEnrollment, FromJoining, Whole};
    let school = School::open(database).await;
    let parents = school.chat(school.parent, ClassParents).await;
    let pupils = school.chat(school.pupil, ClassPupils).await;
    let channel = school.chat(school.parent, ParentsChannel).await;
    let say = async |text: &str| {
        school.send(school.class_teacher, pupils, text).await.unwrap();
        school.send(school.class_teacher, parents, text).await.unwrap();
        school.send(school.head, channel, text).await.unwrap();
        school.now()
    };
    let begin = say("до").await;
    say("учёба").await;
    let come = async || {
        let ids = &school.fixture.env;
        let (pupil, parent) = (ids.id::<MemberId>(), ids.id::<MemberId>());
        school
            .apply(vec![
                admitted(pupil, Role::Pupil, false),
                admitted(parent, Role::Parent, false),
                enrolled_since(ids.id(), pupil, school.class, begin),
                school.related_since(ids.id(), parent, pupil, Some(begin)),
            ])
            .await;
        (pupil, parent)
    };
    let mut people = vec![come().await];
    say("вместе").await;
    let all = ["до", "учёба", "вместе"];
    for (policy, read) in [
        (FromEnrollment, &all[1..]),
        (FromJoining, &all[2..]),
        (Whole, &all[..]),
        (FromEnrollment, &all[1..]),
    ] {
        let mut policies = match organization() {
            Org::OrganizationCreated(created) => created.policies.unwrap(),
            _ => unreachable!("the organization"),
        };
        policies.history_for_newcomers = policy.into();
        let changed = Org::PoliciesChanged(orgs::PoliciesChanged {
            policies: Some(policies),
        });
        let token = school.fixture.org_registry(school.org, vec![changed]).await;
        school.wait_for(&token).await;
        people.push(come().await);
        for (index, (pupil, parent)) in people.iter().enumerate() {
            // Those who came with the policy have joined after the last message.
            let joined = if index == 0 { 2 } else { 3 };
            let read = if policy == FromJoining {
                &all[joined..]
            } else {
                read
            };
            assert_eq!(school.texts(*pupil, pupils).await, read, "{policy:?} {index}");
            assert_eq!(school.texts(*parent, parents).await, read, "{policy:?} {index}");
            assert_eq!(school.texts(*parent, channel).await, read, "{policy:?} {index}");
        }
    }
});

/// A change in a random history of a child and of an adult with several grounds.
#[derive(Debug, Clone, Copy)]
enum Step {
    Enroll,
    Leave,
    Relate,
    Part,
    Assign(bool),
    Release,
    Roles,
    Badge,
}

// After a history of grounds everybody reads what a recomputation of everything gives, and what the stored
// beginnings say.
// Covers: F22 allowed, F22 refused
on_both!(beginnings_equal_their_recomputation, |database| async move {
    let school = School::open(database).await;
    let ids = &school.fixture.env;
    let (both, child) = (ids.id::<MemberId>(), ids.id::<MemberId>());
    let class = school.chat(school.class_teacher, ClassPupils).await;
    let parents = school.chat(school.parent, ClassParents).await;
    let roles = [
        &[Role::Parent][..],
        &[Role::Teacher],
        &[Role::Teacher, Role::Parent],
        &[Role::Staff, Role::Parent],
        &[Role::Deputy, Role::Parent],
    ];
    school
        .apply(vec![
            admitted(child, Role::Pupil, false),
            admitted_in(both, roles[2], true),
        ])
        .await;
    let steps = [
        Step::Enroll,
        Step::Leave,
        Step::Relate,
        Step::Part,
        Step::Assign(false),
        Step::Assign(true),
        Step::Release,
        Step::Roles,
        Step::Badge,
    ];
    let mut seed = ids.ids.uuid().as_u128();
    tracing::info!(%seed, "random history");
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from((seed >> 64) % below as u128).unwrap()
    };
    let (mut enrollments, mut relations, mut assignments) = (Vec::new(), Vec::new(), Vec::new());
    let (mut own, mut verified) = (2, true);
    let mut times = vec![None, Some(school.now())];
    for _ in 0..24 {
        let step = steps[random(steps.len())];
        let begin = times[random(times.len())];
        let event = match step {
            Step::Enroll => {
                let id = ids.id::<EnrollmentId>();
                enrollments.push(id);
                match begin {
                    Some(begin) => enrolled_since(id, child, school.class, begin),
                    None => enrolled(id, child, school.class),
                }
            }
            Step::Relate => {
                let id = ids.id::<GuardianshipId>();
                relations.push(id);
                school.related_since(id, both, child, begin)
            }
            Step::Assign(substitution) => {
                let id = ids.id::<AssignmentId>();
                assignments.push(id);
                school.assigned_since(id, both, substitution, begin)
            }
            Step::Leave => match enrollments.pop() {
                Some(id) => unenrolled(id),
                None => continue,
            },
            Step::Part => match relations.pop() {
                Some(id) => Member::GuardianshipEnded(members::GuardianshipEnded {
                    guardianship_id: id.to_string(),
                }),
                None => continue,
            },
            Step::Release => match assignments.pop() {
                Some(id) => Member::AssignmentEnded(members::AssignmentEnded {
                    assignment_id: id.to_string(),
                }),
                None => continue,
            },
            Step::Roles => {
                own = random(roles.len());
                admitted_in(both, roles[own], verified)
            }
            Step::Badge => {
                verified = !verified;
                admitted_in(both, roles[own], verified)
            }
        };
        school.apply(vec![event]).await;
        for chat in [class, parents] {
            school.send(school.class_teacher, chat, "текст").await.unwrap();
        }
        times.push(Some(school.now()));
        let stored = school.beginnings().await;
        school.recompute().await;
        assert_eq!(stored, school.beginnings().await, "{step:?}");
    }
});

impl School {
    /// The rows of the participants of all chats. Checks that what they read follows from the beginnings.
    async fn beginnings(&self) -> Vec<participant::Model> {
        let conn = self.fixture.db.conn();
        let entries = entry::Entity::find().all(conn).await.unwrap();
        let present = participant::Entity::find().filter(participant::Column::LeftSeq.is_null());
        let mut rows = present.all(conn).await.unwrap();
        rows.sort_by_key(|row| (row.chat_id, row.member_id));
        for row in &rows {
            let last_before = |time: DateTime<Utc>| {
                let of_chat = entries.iter().filter(|entry| entry.chat_id == row.chat_id);
                let before = of_chat.filter(|entry| entry.create_time < time);
                before.map(|entry| entry.seq).max().unwrap_or_default()
            };
            let family = row.family_since.map(last_before);
            let family = family.map(|before| before.max(row.returned_after));
            let since = family.into_iter().chain(row.staff_since.map(last_before)).min();
            // Those who join together read all their joinings.
            let joining = row.visible_after..row.joined_seq;
            match since {
                Some(since) if since <= row.visible_after => assert_eq!(row.visible_after, since, "{row:?}"),
                _ => assert!((1..=20).contains(&joining.count()), "{row:?} {since:?}"),
            }
        }
        rows
    }
}
