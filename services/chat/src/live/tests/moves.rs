//! F21: comings and goings of others, as open streams show them.
use std::{collections::BTreeMap, sync::Arc};

use parta_feed::{Bus, LocalBus};
use parta_ids::MemberId;
use parta_proto_chat::v1::ChatKind::*;
use parta_proto_membership::v1::{self as members, membership_event::Payload as Member};
use parta_testkit::on_both;

use super::streams::Subscriber;
use crate::tests::school::*;

/// Everybody whose coming or going the entries of the stream show up to this text.
async fn moves_until(stream: &mut Subscriber, last: &str) -> Vec<(String, bool)> {
    stream.until(last).await.iter().filter_map(mover).collect()
}

// The streams are those of the replica that applies the change, and of another one.
// Covers: F21 allowed, F21 refused, R43 allowed
on_both!(streams_show_comings_and_goings_to_staff, |database| async move {
    let s = School::open(database).await;
    let class = s.chat(s.pupil, ClassPupils).await;
    let channel = s.chat(s.parent, SchoolChannel).await;
    let other = s.fixture.replica(s.fixture.bus.clone()).await;
    let (mut staff, mut pupils) = (Vec::new(), Vec::new());
    for replica in [s.fixture.channel.clone(), other] {
        staff.push(Subscriber::open(&s, replica.clone(), s.class_teacher, BTreeMap::new()).await);
        pupils.push(Subscriber::open(&s, replica, s.pupil, BTreeMap::new()).await);
    }
    let (of_staff, of_pupils) = (staff[0].cursors.clone(), pupils[0].cursors.clone());
    let (joined, enrollment) = (s.fixture.env.id::<MemberId>(), s.fixture.env.id());
    s.apply(vec![
        admitted(joined, Role::Pupil, false),
        enrolled(enrollment, joined, s.class),
    ])
    .await;
    s.send(s.classmate, class, "привет").await.unwrap();
    s.apply(vec![unenrolled(enrollment)]).await;
    s.send(s.classmate, class, "конец").await.unwrap();
    for stream in &mut staff {
        assert_eq!(moves_until(stream, "привет").await, [(joined.to_string(), true)]);
        assert_eq!(moves_until(stream, "конец").await, [(joined.to_string(), false)]);
    }
    for stream in &mut pupils {
        assert!(moves_until(stream, "конец").await.is_empty());
    }
    // A stream that resumes reads the same from the cache and from the database.
    s.send(s.head, channel, "всем").await.unwrap();
    for (reader, cursors, expected) in [
        (
            s.class_teacher,
            of_staff,
            vec![(joined.to_string(), true), (joined.to_string(), false)],
        ),
        (s.pupil, of_pupils, Vec::new()),
    ] {
        let mut resumed = Subscriber::open_local(&s, reader, cursors).await;
        let mut shown = Vec::new();
        let (mut of_class, mut of_channel) = (false, false);
        while !(of_class && of_channel) {
            let entry = resumed.next().await;
            of_class |= text(&entry) == Some("конец");
            of_channel |= text(&entry) == Some("всем");
            shown.extend(mover(&entry));
        }
        assert_eq!(shown, expected);
    }
});

// Covers: F21 refused
on_both!(
    stream_of_a_former_teacher_shows_no_more_comings,
    |database| async move {
        let s = School::open(database).await;
        let parents = s.chat(s.parent, ClassParents).await;
        // The class teacher has a child in the class too.
        let established = |guardian: MemberId, child: MemberId| {
            Member::GuardianshipEstablished(members::GuardianshipEstablished {
                guardianship_id: s.fixture.env.id::<parta_ids::GuardianshipId>().to_string(),
                guardian_id: guardian.to_string(),
                child_id: child.to_string(),
                confirmed: true,
                kind: members::GuardianshipKind::Parent.into(),
                unit_rooms_only: false,
                begin_time: None,
            })
        };
        let changed = |roles: &[Role]| {
            Member::MemberChanged(members::MemberChanged {
                member_id: s.class_teacher.to_string(),
                state: MemberState::Active.into(),
                roles: roles.iter().map(|role| (*role).into()).collect(),
                teacher_verified: roles.contains(&Role::Teacher),
                ..Default::default()
            })
        };
        s.apply(vec![
            established(s.class_teacher, s.classmate),
            changed(&[Role::Teacher, Role::Parent]),
        ])
        .await;
        let mut stream = Subscriber::open_local(&s, s.class_teacher, BTreeMap::new()).await;
        let one = s.fixture.env.id::<MemberId>();
        let other = s.fixture.env.id::<MemberId>();
        s.apply(vec![
            admitted(one, Role::Parent, false),
            established(one, s.pupil),
        ])
        .await;
        s.send(s.parent, parents, "до").await.unwrap();
        assert_eq!(moves_until(&mut stream, "до").await, [(one.to_string(), true)]);
        s.apply(vec![changed(&[Role::Parent])]).await;
        s.apply(vec![
            admitted(other, Role::Parent, false),
            established(other, s.pupil),
        ])
        .await;
        s.send(s.parent, parents, "после").await.unwrap();
        let shown = moves_until(&mut stream, "после").await;
        // The former teacher leaves the other chats of the class and sees that.
        assert!(
            shown.iter().all(|(id, _)| *id == s.class_teacher.to_string()),
            "{shown:?}"
        );
    }
);

// A removal is committed by one replica while messages are sent through the other one.
// Covers: R38 refused, R39 allowed
on_both!(
    no_replica_stores_a_message_after_the_removal,
    |database| async move {
        let s = Arc::new(School::open(database).await);
        let class = s.chat(s.pupil, ClassPupils).await;
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::new());
        let replicas = [s.fixture.channel.clone(), s.fixture.replica(bus).await];
        let mut enrollment = s.enrollment;
        for _ in 0..4 {
            let sends: Vec<_> = replicas
                .iter()
                .flat_map(|replica| [(replica.clone(), s.pupil), (replica.clone(), s.classmate)])
                .map(|(replica, sender)| {
                    let s = s.clone();
                    s.clone().fixture.spawn(async move {
                        let mut stored = Vec::new();
                        for n in 0..15 {
                            if let Ok(sent) = s.send_through(&replica, sender, class, &n.to_string()).await {
                                stored.push(sent.seq);
                            }
                        }
                        stored
                    })
                })
                .collect();
            s.apply(vec![unenrolled(enrollment)]).await;
            let mut stored = Vec::new();
            for send in sends {
                stored.extend(send.await.unwrap());
            }
            assert!(!stored.is_empty());
            enrollment = s.fixture.env.id();
            s.apply(vec![enrolled(enrollment, s.pupil, s.class)]).await;
        }
        let log = s.read(s.class_teacher, class).await.unwrap();
        assert!(log.iter().map(|entry| entry.seq).eq(1..=log.len() as i64));
        let pupil = s.pupil.to_string();
        let mut inside = false;
        for entry in &log {
            match mover(entry) {
                Some((member, joined)) if member == pupil => inside = joined,
                _ => {}
            }
            if sender(entry) == Some(pupil.as_str()) {
                assert!(
                    inside,
                    "a message of a sender who does not participate: {entry:?}"
                );
            }
        }
    }
);
