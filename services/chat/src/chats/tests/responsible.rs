//! F14, R70: who is responsible for a named chat, the deputy, and how the responsibility passes on.
use parta_ids::{ChatId, MemberId, SuspensionId};
use parta_proto_chat::v1::{self as pb, chat_event::Payload};
use parta_proto_membership::v1::{self as members, membership_event::Payload as Member};
use parta_testkit::on_both;
use prost::Message as _;
use sea_orm::{ConnectionTrait as _, Statement};
use tonic::Code;

use super::unsupervised::{read_only, verified};
use crate::tests::school::*;

impl School {
    pub(super) fn transfer_request(
        &self,
        chat: ChatId,
        responsible: MemberId,
        deputy: Option<MemberId>,
    ) -> pb::TransferResponsibilityRequest {
        pb::TransferResponsibilityRequest {
            request_id: new_uuid(&self.fixture).to_string(),
            org_id: self.org.to_string(),
            chat_id: chat.to_string(),
            responsible_id: responsible.to_string(),
            deputy_id: deputy.map(|member| member.to_string()).unwrap_or_default(),
        }
    }

    async fn transfer_with(
        &self,
        caller: MemberId,
        request: &pb::TransferResponsibilityRequest,
    ) -> Result<Option<pb::Chat>, tonic::Status> {
        let request = self.fixture.request(self.org, caller, request.clone());
        let response = self.chats().transfer_responsibility(request).await?;
        Ok(response.into_inner().chat)
    }

    pub(super) async fn transfer(
        &self,
        caller: MemberId,
        chat: ChatId,
        responsible: MemberId,
        deputy: Option<MemberId>,
    ) -> Result<Option<pb::Chat>, tonic::Status> {
        let request = self.transfer_request(chat, responsible, deputy);
        self.transfer_with(caller, &request).await
    }

    /// A member of the staff with a duty toward these pupils, who opens no personal chats.
    pub(super) async fn tutor_of(&self, pupils: &[MemberId]) -> MemberId {
        let tutor = self.fixture.env.id::<MemberId>();
        let pupils = members::DutyPupils {
            member_ids: pupils.iter().map(ToString::to_string).collect(),
        };
        let duty = members::DutyAssigned {
            duty_id: self.fixture.env.id::<parta_ids::DutyId>().to_string(),
            member_id: tutor.to_string(),
            kind: members::DutyKind::Tutor.into(),
            scope: Some(members::DutyScope {
                scope: Some(members::duty_scope::Scope::Pupils(pupils)),
            }),
            begin_time: None,
        };
        let events = vec![admitted(tutor, Role::Staff, false), Member::DutyAssigned(duty)];
        self.apply(events).await;
        tutor
    }

    /// The responsible member and the deputy as a member of the staff in the chat sees them.
    async fn responsible(&self, reader: MemberId, chat: ChatId) -> (String, String) {
        let seen = self.get(reader, chat).await.unwrap();
        (seen.responsible_id, seen.deputy_id)
    }

    /// The responsible members and the deputies of the events in the feed, oldest first.
    async fn responsibility_events(&self) -> Vec<(String, String)> {
        let sql = Statement::from_string(
            self.fixture.db.backend(),
            "SELECT payload FROM event ORDER BY position",
        );
        let rows = self.fixture.db.conn().query_all_raw(sql).await.unwrap();
        let payload = |row: &sea_orm::QueryResult| {
            let event: Vec<u8> = row.try_get_by_index(0).unwrap();
            pb::ChatEvent::decode(event.as_slice()).unwrap().payload
        };
        let changed = rows
            .iter()
            .filter_map(payload)
            .filter_map(|payload| match payload {
                Payload::ResponsibilityChanged(changed) => Some((changed.responsible_id, changed.deputy_id)),
                _ => None,
            });
        changed.collect()
    }
}

fn ids(responsible: MemberId, deputy: Option<MemberId>) -> (String, String) {
    let deputy = deputy.map(|member| member.to_string());
    (responsible.to_string(), deputy.unwrap_or_default())
}

fn denied() -> (Code, String) {
    (Code::PermissionDenied, "PERMISSION_DENIED".to_owned())
}

// Case 16: only the responsible member names and removes others, and everybody else may leave.
// Covers: F14 allowed, F14 refused, R38 allowed, R38 refused, R70 allowed, R70 refused
on_both!(
    only_the_responsible_member_chooses_participants,
    |database| async move {
        let s = School::open(database).await;
        let (teacher, colleague) = (s.class_teacher, s.subject_teacher);
        let chat = s.custom(teacher, &[s.pupil, colleague]).await.unwrap();
        assert_eq!(s.responsible(colleague, chat).await, ids(teacher, None));
        // Families do not see it.
        assert_eq!(s.responsible(s.pupil, chat).await, (String::new(), String::new()));
        for other in [teacher, s.pupil] {
            assert_eq!(code(s.remove(colleague, chat, &[other]).await), denied());
            assert_eq!(code(s.remove(s.pupil, chat, &[colleague]).await), denied());
        }
        for caller in [colleague, s.pupil] {
            assert_eq!(code(s.add(caller, chat, &[s.classmate]).await), denied());
            assert_eq!(code(s.transfer(caller, chat, colleague, None).await), denied());
        }
        // A member of the administration who made the chat is not removed by a teacher in it.
        let of_head = s.custom(s.head, &[teacher, colleague]).await.unwrap();
        assert_eq!(code(s.remove(teacher, of_head, &[s.head]).await), denied());
        // Others leave; the responsible member stays as long as anybody else is there.
        s.remove(colleague, chat, &[colleague]).await.unwrap();
        let stays = (Code::FailedPrecondition, "RESPONSIBLE_REQUIRED".to_owned());
        for removed in [&[teacher][..], &[teacher, s.classmate]] {
            assert_eq!(code(s.remove(teacher, chat, removed).await), stays);
        }
        assert_eq!(code(s.remove(s.head, chat, &[teacher]).await), stays);
        s.remove(teacher, chat, &[teacher, s.pupil]).await.unwrap();
        assert_eq!(code(s.send(teacher, chat, "нет").await).0, Code::NotFound);
    }
);

// Covers: F14 allowed, F14 refused, F22 refused, R70 allowed, R70 refused
on_both!(responsibility_is_passed_on, |database| async move {
    let s = School::open(database).await;
    let (teacher, successor) = (s.class_teacher, s.subject_teacher);
    let chat = s.custom(teacher, &[s.pupil, s.classmate]).await.unwrap();
    let early = s.send(teacher, chat, "до").await.unwrap();
    let not_cleared = (Code::PermissionDenied, "NOT_CLEARED".to_owned());
    assert_eq!(code(s.transfer(teacher, chat, s.pupil, None).await), not_cleared);
    let refused = code(s.transfer(teacher, chat, teacher, Some(s.pupil)).await);
    assert_eq!(refused, not_cleared);
    for nobody in [s.unverified, s.badge_holder(&[]).await] {
        let refused = code(s.transfer(teacher, chat, nobody, None).await);
        assert_eq!(refused.1, "MEMBER_NOT_REACHABLE");
    }
    let unknown = s.fixture.env.id();
    assert_eq!(
        code(s.transfer(teacher, chat, unknown, None).await).0,
        Code::NotFound
    );
    let same = s.transfer(teacher, chat, teacher, Some(teacher)).await;
    assert_eq!(code(same).0, Code::InvalidArgument);
    let class = s.chat(s.pupil, pb::ChatKind::ClassPupils).await;
    let fixed = code(s.transfer(teacher, class, successor, None).await);
    assert_eq!(fixed.1, "PARTICIPANTS_FIXED");
    assert_eq!(
        code(s.transfer(successor, chat, successor, None).await).0,
        Code::NotFound
    );

    let request = s.transfer_request(chat, successor, Some(teacher));
    let first = s.transfer_with(teacher, &request).await.unwrap().unwrap();
    assert_eq!(
        (first.responsible_id.clone(), first.deputy_id.clone()),
        ids(successor, Some(teacher))
    );
    // The caller has given the right away, and gets the same result again.
    let again = s.transfer_with(teacher, &request).await.unwrap().unwrap();
    assert_eq!(first, again);
    assert_eq!(code(s.remove(teacher, chat, &[s.classmate]).await), denied());
    // The successor reads from the joining.
    s.send(s.pupil, chat, "после").await.unwrap();
    assert_eq!(s.texts(successor, chat).await, ["после"]);
    assert_eq!(s.texts(s.pupil, chat).await, ["до", "после"]);
    let named = pb::BatchGetAuthorsRequest {
        org_id: s.org.to_string(),
        chat_id: chat.to_string(),
        seqs: vec![early.seq],
    };
    let named = s.fixture.request(s.org, successor, named);
    let named = s.messages().batch_get_authors(named).await.unwrap().into_inner();
    assert!(named.authors.is_empty(), "{named:?}");
    s.remove(successor, chat, &[s.classmate]).await.unwrap();
    // The former one may leave, and nobody is deputy then.
    s.remove(teacher, chat, &[teacher]).await.unwrap();
    assert_eq!(s.responsible(successor, chat).await, ids(successor, None));
    assert_eq!(s.texts(teacher, chat).await, ["до", "после"]);
    let expected = [
        ids(teacher, None),
        ids(successor, Some(teacher)),
        ids(successor, None),
    ];
    assert_eq!(s.responsibility_events().await, expected);
    // The snapshot has the present state.
    let snapshot = crate::feed::snapshot;
    let events = s.fixture.db.read(|tx| snapshot(tx, s.org)).await.unwrap();
    let present = pb::ResponsibilityChanged {
        chat_id: chat.to_string(),
        responsible_id: successor.to_string(),
        deputy_id: String::new(),
    };
    assert!(
        events.contains(&Payload::ResponsibilityChanged(present)),
        "{events:?}"
    );
});

// The administration chooses people from outside, and learns of limits.
// Covers: F13 refused, F14 allowed, F14 refused
on_both!(administration_appoints_without_reading, |database| async move {
    let s = School::open(database).await;
    let (teacher, colleague) = (s.class_teacher, s.subject_teacher);
    let chat = s.custom(teacher, &[s.pupil, s.classmate]).await.unwrap();
    s.limit(colleague, &[members::RelationLimit::NoContact]).await;
    let refused = code(s.transfer(s.head, chat, colleague, None).await);
    assert_eq!(refused, (Code::PermissionDenied, "RELATION_LIMITED".to_owned()));
    let second = s.badge_holder(&[]).await;
    let task = s.assigned(second, s.class, AssignmentKind::SubjectTeacher);
    s.apply(vec![task]).await;
    let request = s.transfer_request(chat, teacher, Some(second));
    for _ in 0..2 {
        assert_eq!(s.transfer_with(s.head, &request).await.unwrap(), None);
    }
    assert_eq!(s.responsible(second, chat).await, ids(teacher, Some(second)));
    assert_eq!(code(s.read(s.head, chat).await).0, Code::NotFound);
    // One who is in the chat does not appoint themselves either.
    let of_staff = s.custom(teacher, &[s.head]).await.unwrap();
    let own = code(s.transfer(s.head, of_staff, s.head, None).await);
    assert_eq!(own, (Code::PermissionDenied, "SECOND_PERSON_REQUIRED".to_owned()));
});

// Covers: F14 allowed, F15 allowed, F15 refused, R70 allowed
on_both!(deputy_takes_over_at_once, |database| async move {
    let s = School::open(database).await;
    let (teacher, deputy) = (s.class_teacher, s.subject_teacher);
    let named = [s.pupil, s.classmate, s.parent, deputy];
    let chat = s.custom(teacher, &named).await.unwrap();
    s.transfer(teacher, chat, teacher, Some(deputy)).await.unwrap();
    let suspension = s.suspend(teacher, &[]).await;
    // The parent stays under the deputy, and the chat goes on.
    s.send(s.parent, chat, "можно").await.unwrap();
    assert_eq!(s.responsible(deputy, chat).await, ids(deputy, None));
    s.reinstate(suspension).await;
    s.send(teacher, chat, "снова").await.unwrap();
    assert_eq!(s.responsible(teacher, chat).await, ids(deputy, None));
    assert_eq!(code(s.remove(teacher, chat, &[s.parent]).await), denied());
    s.remove(deputy, chat, &[s.parent]).await.unwrap();
    // A deputy who may not be responsible is passed over, and the class teacher of the unit takes over.
    s.transfer(deputy, chat, deputy, None).await.unwrap();
    s.apply(vec![verified(deputy, false)]).await;
    assert_eq!(s.responsible(teacher, chat).await, ids(teacher, None));
    s.apply(vec![verified(teacher, false)]).await;
    assert_eq!(code(s.send(s.pupil, chat, "нет").await), read_only());
});

// A leader who comes later takes over the chats of the unit, and none of another ground.
// Covers: F14 allowed, F14 refused, F15 refused, F22 refused
on_both!(
    later_class_teacher_takes_over_the_chats_of_the_unit,
    |database| async move {
        let s = School::open(database).await;
        let tutor = s.tutor_of(&[s.pupil, s.classmate]).await;
        let of_unit = s
            .custom(s.subject_teacher, &[s.pupil, s.classmate])
            .await
            .unwrap();
        let of_duty = s
            .custom(s.class_teacher, &[s.pupil, s.classmate, tutor])
            .await
            .unwrap();
        s.transfer(s.class_teacher, of_duty, tutor, None).await.unwrap();
        s.remove(s.class_teacher, of_duty, &[s.class_teacher])
            .await
            .unwrap();
        for chat in [of_unit, of_duty] {
            s.send(s.pupil, chat, "до").await.unwrap();
        }
        let gone = Member::MemberChanged(members::MemberChanged {
            member_id: tutor.to_string(),
            state: MemberState::Left.into(),
            roles: vec![Role::Staff.into()],
            ..Default::default()
        });
        let events = [s.class_teacher, s.subject_teacher].map(|teacher| verified(teacher, false));
        s.apply(events.into_iter().chain([gone]).collect()).await;
        for chat in [of_unit, of_duty] {
            assert_eq!(code(s.send(s.pupil, chat, "нет").await), read_only());
        }
        let later = s.badge_holder(&[]).await;
        let subject = s.assigned(later, s.class, AssignmentKind::SubjectTeacher);
        s.apply(vec![subject]).await;
        assert_eq!(code(s.send(s.pupil, of_unit, "нет").await), read_only());
        let leads = s.assigned(later, s.class, AssignmentKind::ClassTeacher);
        s.apply(vec![leads]).await;
        s.send(s.pupil, of_unit, "после").await.unwrap();
        assert_eq!(s.texts(later, of_unit).await, ["после"]);
        assert_eq!(s.responsible(later, of_unit).await, ids(later, None));
        assert_eq!(code(s.send(s.pupil, of_duty, "нет").await), read_only());
        assert_eq!(code(s.read(later, of_duty).await).0, Code::NotFound);
    }
);

// A chat of the staff has a responsible member too, and a substitute makes no chat of pupils.
// Covers: F3 refused, F14 allowed, F14 refused, F17 refused
on_both!(
    chat_of_staff_waits_for_a_responsible_member,
    |database| async move {
        let s = School::open(database).await;
        let chat = s.custom(s.unverified, &[s.subject_teacher]).await.unwrap();
        s.send(s.subject_teacher, chat, "до").await.unwrap();
        let gone = Member::MemberChanged(members::MemberChanged {
            member_id: s.unverified.to_string(),
            state: MemberState::Left.into(),
            roles: vec![Role::Teacher.into()],
            ..Default::default()
        });
        s.apply(vec![gone]).await;
        assert_eq!(code(s.send(s.subject_teacher, chat, "нет").await), read_only());
        s.transfer(s.head, chat, s.subject_teacher, None).await.unwrap();
        s.send(s.subject_teacher, chat, "после").await.unwrap();
        let stand_in = s.badge_holder(&[]).await;
        let task = members::AssignmentCreated {
            assignment_id: s.fixture.env.id::<parta_ids::AssignmentId>().to_string(),
            member_id: stand_in.to_string(),
            unit_id: s.class.to_string(),
            kind: AssignmentKind::ClassTeacher.into(),
            substitution: true,
            begin_time: None,
        };
        s.apply(vec![Member::AssignmentCreated(task)]).await;
        // A member of the staff without clearance names her child, and makes no chat with it.
        let roles = [Role::Staff, Role::Parent];
        let mother = s.fixture.env.id::<MemberId>();
        s.apply(vec![admitted_in(mother, &roles, false)]).await;
        s.relate(mother, s.classmate).await;
        let refused = code(s.custom(mother, &[s.classmate]).await);
        assert_eq!(refused, (Code::PermissionDenied, "NOT_CLEARED".to_owned()));
        let refused = code(s.custom(stand_in, &[s.pupil, s.classmate]).await);
        assert_eq!(refused.1, "MEMBER_NOT_REACHABLE");
    }
);

/// A change of the roster that a history makes.
#[derive(Debug, Clone, Copy)]
enum Step {
    Badge(MemberId, bool),
    Suspend(MemberId),
    Reinstate,
    Move,
    MoveBack,
}

// The chats of a history of losses are those that a recomputation of everything gives, on another replica
// too.
// Covers: F14 allowed, F15 refused
on_both!(named_chats_equal_their_recomputation, |database| async move {
    let s = School::open(database).await;
    let (teacher, deputy) = (s.class_teacher, s.subject_teacher);
    let tutor = s.tutor_of(&[s.pupil, s.classmate]).await;
    let named = [s.pupil, s.classmate, s.parent, deputy, tutor];
    let mut chats = Vec::new();
    for (responsible, second) in [(teacher, Some(deputy)), (deputy, None), (tutor, Some(teacher))] {
        let chat = s.custom(teacher, &named).await.unwrap();
        s.transfer(teacher, chat, responsible, second).await.unwrap();
        chats.push(chat);
    }
    let _replica = s.fixture.replica(s.fixture.bus.clone()).await;
    let mut seed = s.fixture.env.ids.uuid().as_u128();
    tracing::info!(%seed, "random history");
    let steps = [
        Step::Badge(teacher, false),
        Step::Badge(deputy, false),
        Step::Badge(teacher, true),
        Step::Badge(deputy, true),
        Step::Suspend(teacher),
        Step::Suspend(deputy),
        Step::Suspend(tutor),
        Step::Reinstate,
        Step::Move,
        Step::MoveBack,
    ];
    let (mut suspended, mut enrollment): (Vec<SuspensionId>, _) = (Vec::new(), Some(s.enrollment));
    let mut elsewhere = None;
    for _ in 0..24 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let step = steps[usize::try_from((seed >> 64) % steps.len() as u128).unwrap()];
        match step {
            Step::Badge(member, badge) => s.apply(vec![verified(member, badge)]).await,
            Step::Suspend(member) => suspended.push(s.suspend(member, &[]).await),
            Step::Reinstate => {
                if let Some(suspension) = suspended.pop() {
                    s.reinstate(suspension).await;
                }
            }
            Step::Move => {
                if let Some(from) = enrollment.take() {
                    let to = s.fixture.env.id();
                    s.apply(vec![unenrolled(from), enrolled(to, s.pupil, s.other_class)])
                        .await;
                    elsewhere = Some(to);
                }
            }
            Step::MoveBack => {
                if let Some(from) = elsewhere.take() {
                    let to = s.fixture.env.id();
                    s.apply(vec![unenrolled(from), enrolled(to, s.pupil, s.class)])
                        .await;
                    enrollment = Some(to);
                }
            }
        }
        let stored = s.stored(&chats).await;
        s.recompute().await;
        assert_eq!(stored, s.stored(&chats).await, "{step:?}");
        // Nobody writes in a chat without a responsible member.
        for (responsible, unsupervised, people) in &stored {
            assert!(
                !responsible.is_empty() || *unsupervised || people.is_empty(),
                "{stored:?}"
            );
        }
    }
});

impl School {
    /// The responsible member, whether the chat is read-only, and the participants of each chat, as stored.
    async fn stored(&self, chats: &[ChatId]) -> Vec<(String, bool, Vec<String>)> {
        use parta_ids::TypedId as _;
        use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

        use crate::entries::{chat, participant};
        let conn = self.fixture.db.conn();
        let mut stored = Vec::new();
        for id in chats {
            let row = chat::Entity::find_by_id((self.org.uuid(), id.uuid()));
            let row = row.one(conn).await.unwrap().unwrap();
            let people = participant::Entity::find()
                .filter(participant::Column::ChatId.eq(id.uuid()))
                .filter(participant::Column::LeftSeq.is_null());
            let people = people.all(conn).await.unwrap();
            let mut people: Vec<_> = people
                .iter()
                .map(|p| format!("{} {} {} {}", p.member_id, p.may_post, p.kind, p.visible_after))
                .collect();
            people.sort();
            let responsible = [row.responsible_id, row.deputy_id, row.ground_unit_id];
            let responsible = responsible.into_iter().flatten().map(|id| id.to_string());
            stored.push((
                responsible.collect::<Vec<_>>().join(" "),
                row.unsupervised,
                people,
            ));
        }
        stored
    }
}
