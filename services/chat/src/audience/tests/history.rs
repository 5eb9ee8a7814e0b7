//! F22: what of the past of a derived chat a member reads.
use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{AssignmentId, ChatId, DutyId, EnrollmentId, GuardianshipId, MemberId, TypedId as _};
use parta_proto::timestamp;
use parta_proto_chat::v1::ChatKind::*;
use parta_proto_membership::v1::{self as members, membership_event::Payload as Member};
use parta_roster::school_year_begin;
use parta_testkit::on_both;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _, Statement, sea_query::Expr,
};

use crate::{entries::entry, tests::school::*};

impl School {
    async fn change(&self, member: MemberId, roles: &[Role], verified: bool) {
        self.apply(vec![Member::MemberChanged(members::MemberChanged {
            member_id: member.to_string(),
            state: MemberState::Active.into(),
            roles: roles.iter().map(|role| (*role).into()).collect(),
            teacher_verified: verified,
            ..Default::default()
        })])
        .await;
    }

    fn related(&self, guardian: MemberId, child: MemberId) -> Member {
        self.related_since(self.fixture.env.id(), guardian, child, None)
    }

    pub(super) fn related_since(
        &self,
        id: GuardianshipId,
        guardian: MemberId,
        child: MemberId,
        begin: Option<DateTime<Utc>>,
    ) -> Member {
        Member::GuardianshipEstablished(members::GuardianshipEstablished {
            guardianship_id: id.to_string(),
            guardian_id: guardian.to_string(),
            child_id: child.to_string(),
            confirmed: true,
            kind: members::GuardianshipKind::Parent.into(),
            unit_rooms_only: false,
            begin_time: begin.map(timestamp),
        })
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.fixture.env.now()
    }

    /// Sends a message and moves it to this time, with the entries before it from `after` on. Returns its
    /// sequence number.
    async fn write_at(
        &self,
        sender: MemberId,
        (chat, after): (ChatId, i64),
        text: &str,
        time: DateTime<Utc>,
    ) -> i64 {
        let sent = self.send(sender, chat, text).await.unwrap();
        entry::Entity::update_many()
            .col_expr(entry::Column::CreateTime, Expr::value(time))
            .filter(entry::Column::ChatId.eq(chat.uuid()))
            .filter(entry::Column::Seq.gt(after))
            .exec(self.fixture.db.writer())
            .await
            .unwrap();
        sent.seq
    }

    /// Moves the whole log of a chat to the archive.
    async fn archive(&self, chat: ChatId) {
        let conn = self.fixture.db.writer();
        for sql in [
            "UPDATE chat SET archived_seq = head_seq WHERE chat_id = $1",
            "INSERT INTO entry_archive (org_id, chat_id, seq, entry_id, kind, sender, request_id, digest, \
             body, subject, service, create_time) SELECT org_id, chat_id, seq, entry_id, kind, sender, \
             request_id, digest, body, subject, service, create_time FROM entry WHERE chat_id = $1",
            "DELETE FROM entry WHERE chat_id = $1",
        ] {
            let backend = conn.get_database_backend();
            let statement = Statement::from_sql_and_values(backend, sql, [chat.uuid().into()]);
            conn.execute_raw(statement).await.unwrap();
        }
    }

    pub(super) fn assigned_since(
        &self,
        id: AssignmentId,
        member: MemberId,
        substitution: bool,
        begin: Option<DateTime<Utc>>,
    ) -> Member {
        Member::AssignmentCreated(members::AssignmentCreated {
            assignment_id: id.to_string(),
            member_id: member.to_string(),
            unit_id: self.class.to_string(),
            kind: AssignmentKind::ClassTeacher.into(),
            substitution,
            begin_time: begin.map(timestamp),
        })
    }
}

// Covers: F22 allowed, F22 refused
on_both!(
    families_read_a_class_chat_from_the_joining,
    |database| async move {
        let school = School::open(database).await;
        let pupils = school.chat(school.pupil, ClassPupils).await;
        let parents = school.chat(school.parent, ClassParents).await;
        school.send(school.class_teacher, pupils, "до").await.unwrap();
        school.send(school.class_teacher, parents, "до").await.unwrap();

        let ids = &school.fixture.env;
        let (pupil, parent) = (ids.id::<MemberId>(), ids.id::<MemberId>());
        let enrollment = ids.id::<EnrollmentId>();
        let related = || {
            Member::GuardianshipEstablished(members::GuardianshipEstablished {
                guardianship_id: ids.id::<GuardianshipId>().to_string(),
                guardian_id: parent.to_string(),
                child_id: pupil.to_string(),
                confirmed: true,
                kind: members::GuardianshipKind::Parent.into(),
                unit_rooms_only: false,
                begin_time: None,
            })
        };
        school
            .apply(vec![
                admitted(pupil, Role::Pupil, false),
                admitted(parent, Role::Parent, false),
                enrolled(enrollment, pupil, school.class),
                related(),
            ])
            .await;
        school.send(school.class_teacher, pupils, "вместе").await.unwrap();
        school
            .send(school.class_teacher, parents, "вместе")
            .await
            .unwrap();
        assert_eq!(school.texts(pupil, pupils).await, ["вместе"]);
        assert_eq!(school.texts(parent, parents).await, ["вместе"]);
        // Those who were there read on, and the teacher reads all of it.
        assert_eq!(school.texts(school.pupil, pupils).await, ["до", "вместе"]);

        // After a break they read from the return.
        school.apply(vec![unenrolled(enrollment)]).await;
        assert_eq!(code(school.read(pupil, pupils).await).0, tonic::Code::NotFound);
        school
            .send(school.class_teacher, pupils, "без них")
            .await
            .unwrap();
        school
            .send(school.class_teacher, parents, "без них")
            .await
            .unwrap();
        school.apply(vec![enrolled(ids.id(), pupil, school.class)]).await;
        school.send(school.class_teacher, pupils, "снова").await.unwrap();
        school.send(school.class_teacher, parents, "снова").await.unwrap();
        assert_eq!(school.texts(pupil, pupils).await, ["снова"]);
        assert_eq!(school.texts(parent, parents).await, ["снова"]);
    }
);

// Covers: F22 allowed, F22 refused
on_both!(verified_teachers_read_the_school_year, |database| async move {
    let school = School::open(database).await;
    let class = school.chat(school.pupil, ClassPupils).await;
    let room = school.chat(school.class_teacher, StaffRoom).await;
    school.send(school.pupil, class, "до").await.unwrap();
    school.send(school.class_teacher, room, "до").await.unwrap();

    let teacher = school.fixture.env.id::<MemberId>();
    school
        .apply(vec![
            admitted(teacher, Role::Teacher, false),
            school.assigned(teacher, school.class, AssignmentKind::SubjectTeacher),
        ])
        .await;
    school.send(school.class_teacher, room, "вместе").await.unwrap();
    assert_eq!(school.texts(teacher, room).await, ["вместе"]);
    school.change(teacher, &[Role::Teacher], true).await;
    assert_eq!(school.texts(teacher, room).await, ["до", "вместе"]);
    assert_eq!(school.texts(teacher, class).await, ["до"]);
    // The badge is withdrawn: nobody reads more than before it was given.
    school.change(teacher, &[Role::Teacher], false).await;
    assert_eq!(school.texts(teacher, room).await, ["вместе"]);
});

// Covers: F22 refused
on_both!(
    who_stays_as_a_parent_reads_from_the_joining,
    |database| async move {
        let school = School::open(database).await;
        let channel = school.chat(school.head, SchoolChannel).await;
        school.send(school.head, channel, "до").await.unwrap();
        let both = school.fixture.env.id::<MemberId>();
        let child = Member::GuardianshipEstablished(members::GuardianshipEstablished {
            guardianship_id: school.fixture.env.id::<GuardianshipId>().to_string(),
            guardian_id: both.to_string(),
            child_id: school.pupil.to_string(),
            confirmed: true,
            kind: members::GuardianshipKind::Parent.into(),
            unit_rooms_only: false,
            begin_time: None,
        });
        let roles = [Role::Teacher, Role::Parent];
        school.apply(vec![admitted_in(both, &roles, true), child]).await;
        school.send(school.head, channel, "вместе").await.unwrap();
        assert_eq!(school.texts(both, channel).await, ["до", "вместе"]);
        school.change(both, &[Role::Parent], false).await;
        assert_eq!(school.texts(both, channel).await, ["вместе"]);
    }
);

// A parent who works in the organization, also as an unverified teacher, is in the parents' chat as a parent.
// Covers: F22 allowed, F22 refused
on_both!(staff_who_are_parents_read_as_parents, |database| async move {
    let school = School::open(database).await;
    let parents = school.chat(school.parent, ClassParents).await;
    school.send(school.class_teacher, parents, "до").await.unwrap();
    let unverified = [Role::Teacher, Role::Parent];
    for (roles, verified) in [
        (&[Role::Staff, Role::Parent][..], false),
        (&unverified[..], false),
        (&unverified[..], true),
        (&[Role::Head, Role::Parent][..], false),
    ] {
        let both = school.fixture.env.id::<MemberId>();
        let child = school.related(both, school.pupil);
        school
            .apply(vec![admitted_in(both, roles, verified), child])
            .await;
        let text = format!("вместе {roles:?} {verified}");
        school.send(school.class_teacher, parents, &text).await.unwrap();
        assert_eq!(school.texts(both, parents).await, [text], "{roles:?}");
    }
});

// The widest ground that lasts decides; when it ends, the beginning is that of the other one.
// Covers: F22 allowed, F22 refused
on_both!(
    beginning_narrows_to_the_ground_that_stays,
    |database| async move {
        let school = School::open(database).await;
        let parents = school.chat(school.parent, ClassParents).await;
        school.send(school.class_teacher, parents, "до").await.unwrap();
        let both = school.fixture.env.id::<MemberId>();
        let child = school.related(both, school.pupil);
        let roles = [Role::Teacher, Role::Parent];
        school.apply(vec![admitted_in(both, &roles, true), child]).await;
        school
            .send(school.class_teacher, parents, "вместе")
            .await
            .unwrap();
        let assignment = school.fixture.env.id::<AssignmentId>();
        let leads = school.assigned_since(assignment, both, false, Some(school.now()));
        school.apply(vec![leads]).await;
        assert_eq!(school.texts(both, parents).await, ["до", "вместе"]);
        let ended = members::AssignmentEnded {
            assignment_id: assignment.to_string(),
        };
        school.apply(vec![Member::AssignmentEnded(ended)]).await;
        assert_eq!(school.texts(both, parents).await, ["вместе"]);
    }
);

// A person who registers later reads from the enrollment or the recorded relation, also in the archive.
// Covers: F22 allowed, F22 refused
on_both!(
    families_read_from_enrollment_and_relation,
    |database| async move {
        let school = School::open(database).await;
        let pupils = school.chat(school.pupil, ClassPupils).await;
        let parents = school.chat(school.parent, ClassParents).await;
        let channel = school.chat(school.parent, SchoolChannel).await;
        let say = async |text: &str| {
            school.send(school.class_teacher, pupils, text).await.unwrap();
            school.send(school.class_teacher, parents, text).await.unwrap();
            school.send(school.head, channel, text).await.unwrap();
            school.now()
        };
        let related = say("до").await;
        let enrolled = say("связь").await;
        let late = say("учёба").await;
        school.archive(pupils).await;
        school.archive(parents).await;
        say("регистрация").await;

        let ids = &school.fixture.env;
        let [pupil, early, later] = std::array::from_fn(|_| ids.id::<MemberId>());
        let begun = vec![
            enrolled_since(ids.id(), pupil, school.class, enrolled),
            school.related_since(ids.id(), early, pupil, Some(related)),
            school.related_since(ids.id(), later, pupil, Some(late)),
            admitted(pupil, Role::Pupil, false),
            admitted(early, Role::Parent, false),
            admitted(later, Role::Parent, false),
        ];
        school.apply(begun).await;
        assert_eq!(school.texts(pupil, pupils).await, ["учёба", "регистрация"]);
        assert_eq!(school.texts(pupil, channel).await, ["учёба", "регистрация"]);
        // The relation is older than the enrollment in this class.
        assert_eq!(school.texts(early, parents).await, ["учёба", "регистрация"]);
        assert_eq!(
            school.texts(early, channel).await,
            ["связь", "учёба", "регистрация"]
        );
        assert_eq!(school.texts(later, parents).await, ["регистрация"]);

        // A limit interrupts the participation, not the relation: what was written meanwhile stays closed.
        let limited = |limits: &[members::RelationLimit]| {
            Member::RelationLimited(members::RelationLimited {
                guardian_id: early.to_string(),
                child_id: pupil.to_string(),
                limits: limits.iter().map(|limit| (*limit).into()).collect(),
            })
        };
        let whereabouts = [members::RelationLimit::NoWhereabouts];
        school.apply(vec![limited(&whereabouts)]).await;
        assert_eq!(code(school.read(early, parents).await).0, tonic::Code::NotFound);
        school
            .send(school.class_teacher, parents, "без неё")
            .await
            .unwrap();
        school.apply(vec![limited(&[])]).await;
        school.send(school.class_teacher, parents, "снова").await.unwrap();
        assert_eq!(school.texts(early, parents).await, ["снова"]);
        // Another relation that is older does not open the break either.
        let child = enrolled_since(school.enrollment, school.pupil, school.class, related);
        let older = school.related_since(ids.id(), early, school.pupil, Some(related));
        school.apply(vec![child, older]).await;
        assert_eq!(school.texts(early, parents).await, ["снова"]);
    }
);

// A ground that is published again with another beginning changes what a participant reads.
// Covers: F22 allowed, F22 refused
on_both!(late_beginning_applies_to_participants, |database| async move {
    let school = School::open(database).await;
    let pupils = school.chat(school.pupil, ClassPupils).await;
    let channel = school.chat(school.pupil, PupilsChannel).await;
    let begin = school.now();
    school.send(school.class_teacher, pupils, "до").await.unwrap();
    school.send(school.head, channel, "до").await.unwrap();
    let ids = &school.fixture.env;
    let (pupil, enrollment) = (ids.id::<MemberId>(), ids.id());
    school
        .apply(vec![
            admitted(pupil, Role::Pupil, false),
            enrolled(enrollment, pupil, school.class),
        ])
        .await;
    // An earlier build published no beginning.
    assert!(school.texts(pupil, pupils).await.is_empty());
    let again = enrolled_since(enrollment, pupil, school.class, begin);
    school.apply(vec![again]).await;
    assert_eq!(school.texts(pupil, pupils).await, ["до"]);
    assert_eq!(school.texts(pupil, channel).await, ["до"]);
    // A pupil who moves to another class goes on reading the channel of the pupils.
    let moved = enrolled_since(ids.id(), pupil, school.other_class, school.now());
    school.apply(vec![unenrolled(enrollment), moved]).await;
    assert_eq!(school.texts(pupil, channel).await, ["до"]);
    let class = school.chat(pupil, ClassPupils).await;
    assert!(class != pupils && school.texts(pupil, class).await.is_empty());
});

// Covers: F22 allowed, F22 refused
on_both!(
    teachers_and_substitutes_read_a_part_of_the_past,
    |database| async move {
        let school = School::open(database).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        let room = school.chat(school.class_teacher, StaffRoom).await;
        let now = school.now();
        let year = school_year_begin(now, chrono_tz::Europe::Moscow);
        let begin = now.max(year + TimeDelta::days(9));
        let author = school.class_teacher;
        for chat in [class, room] {
            let (before, week) = (year - TimeDelta::seconds(1), begin - TimeDelta::days(7));
            let after = school.write_at(author, (chat, 0), "год назад", before).await;
            let after = school.write_at(author, (chat, after), "этот год", year).await;
            school.write_at(author, (chat, after), "за неделю", week).await;
        }
        let ids = &school.fixture.env;
        let [teacher, substitute, psychologist] = std::array::from_fn(|_| ids.id::<MemberId>());
        let duty = members::DutyAssigned {
            duty_id: ids.id::<DutyId>().to_string(),
            member_id: psychologist.to_string(),
            kind: members::DutyKind::Psychologist.into(),
            scope: Some(members::DutyScope {
                scope: Some(members::duty_scope::Scope::UnitId(school.class.to_string())),
            }),
            begin_time: None,
        };
        school
            .apply(vec![
                admitted(teacher, Role::Teacher, true),
                admitted(substitute, Role::Teacher, true),
                admitted(psychologist, Role::Staff, false),
                Member::DutyAssigned(duty),
                school.assigned(teacher, school.class, AssignmentKind::SubjectTeacher),
                school.assigned_since(ids.id(), substitute, true, Some(begin)),
            ])
            .await;
        let (all, year) = (["год назад", "этот год", "за неделю"], ["этот год", "за неделю"]);
        assert_eq!(school.texts(teacher, class).await, year);
        assert_eq!(school.texts(teacher, room).await, year);
        assert_eq!(school.texts(substitute, class).await, ["за неделю"]);
        assert_eq!(school.texts(psychologist, class).await, all);
        // A teacher who becomes the head reads the staff room whole as long as the office lasts.
        school.change(teacher, &[Role::Teacher, Role::Head], true).await;
        assert_eq!(school.texts(teacher, room).await, all);
        assert_eq!(school.texts(teacher, class).await, year);
        school.change(teacher, &[Role::Teacher], true).await;
        assert_eq!(school.texts(teacher, room).await, year);
    }
);
