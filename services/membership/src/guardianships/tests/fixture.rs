//! A class with its teacher, a child and two parents, and the calls of the tests.
use chrono::TimeDelta;
use parta_ids::{InvitationId, MemberId, UnitId};
use parta_proto::timestamp;
use parta_proto_membership::{
    internal::v1::AdmitMemberRequest,
    v1::{self as pb, AssignmentKind, RelationLimit, Role},
};
use parta_testkit::TestDatabase;
use tonic::Status;

use crate::tests::test_env::{MemberSession, Person, TestEnv, by, org, reason, unit};

pub(super) struct School {
    pub(super) env: TestEnv,
    pub(super) administrator: MemberSession,
    /// The class teacher of the first class.
    pub(super) teacher: MemberSession,
    /// A pupil of the first class.
    pub(super) child: MemberSession,
    pub(super) mother: MemberSession,
    pub(super) father: MemberSession,
}

impl School {
    pub(super) async fn open(database: TestDatabase) -> Self {
        let env = TestEnv::open(database).await;
        let administrator = env.administrator(1).await;
        let teacher = env.class_teacher(&administrator, "+79163333333", unit(1)).await;
        let child = env.join_pupil("+79161111111", "Ян Котов", 1).await;
        let of_child = |r: &mut AdmitMemberRequest| r.child_id = child.member_id.clone();
        let mother = env
            .join("+79162222222", "Мария Котова", Role::Parent, of_child)
            .await;
        let father = env
            .join("+79164444444", "Пётр Котов", Role::Parent, of_child)
            .await;
        Self {
            env,
            administrator,
            teacher,
            child,
            mother,
            father,
        }
    }

    pub(super) async fn second_administrator(&self) -> MemberSession {
        let second = self
            .env
            .join("+79165555555", "Иван Орлов", Role::Staff, |_| ())
            .await;
        self.set_roles(&second.member_id, &[Role::Staff, Role::Administrator])
            .await;
        second
    }

    pub(super) async fn set_roles(&self, member_id: &str, roles: &[Role]) {
        let changed = self.env.change_roles(&self.administrator, member_id, roles);
        changed.await.unwrap();
    }

    /// Accepts another link for a child, as a parent.
    pub(super) async fn accept_link(&self, person: &Person, child_id: &str) {
        let link = self.env.env.id::<InvitationId>().to_string();
        let request = AdmitMemberRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            flow_id: self.env.flow(person, &link).await,
            invitation_id: link,
            role: Role::Parent.into(),
            issuer_id: self.env.env.id::<MemberId>().to_string(),
            child_id: child_id.to_owned(),
            ..Default::default()
        };
        self.env.admission().admit_member(request).await.unwrap();
    }

    /// Creates the record of a parent who has not joined.
    pub(super) async fn expected_parent(&self) -> String {
        let created = self
            .env
            .create_member(&self.administrator, "Вера Котова", Role::Parent, None);
        created.await.unwrap().id
    }

    pub(super) async fn enroll(&self, member_id: &str, unit: UnitId) {
        let enrolled = self.env.enroll(&self.administrator, member_id, unit);
        enrolled.await.unwrap();
    }

    /// A verified teacher who is the class teacher of a unit, for these days or without an end.
    pub(super) async fn leader(&self, phone: &str, unit: UnitId, days: Option<i64>) -> MemberSession {
        let teacher = self
            .env
            .join(phone, "Ольга Соколова", Role::Teacher, |_| ())
            .await;
        self.env
            .verify_teacher(&self.administrator, &teacher.member_id)
            .await
            .unwrap();
        let end = |days| self.env.env.now() + TimeDelta::days(days);
        let request = pb::CreateAssignmentRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            member_id: teacher.member_id.clone(),
            unit_id: unit.to_string(),
            kind: AssignmentKind::ClassTeacher.into(),
            expire_time: days.map(|days| timestamp(end(days))),
            until_date: String::new(),
        };
        let mut api = self.env.assignments();
        api.create_assignment(by(&self.administrator.token, request))
            .await
            .unwrap();
        teacher
    }

    /// The relations that a member sees, without the ended ones of others.
    pub(super) async fn list(&self, caller: &MemberSession, pending_only: bool) -> Vec<pb::Guardianship> {
        let request = pb::ListGuardianshipsRequest {
            org_id: org(1).to_string(),
            page_size: 200,
            pending_only,
            ..Default::default()
        };
        let mut api = self.env.guardianships();
        let listed = api.list_guardianships(by(&caller.token, request)).await;
        listed.unwrap().into_inner().guardianships
    }

    /// The relation of a guardian and a child that is shown last.
    pub(super) async fn relation(&self, guardian: &MemberSession, child_id: &str) -> pb::Guardianship {
        let all = self.list(&self.administrator, false).await;
        let of_both = |g: &&pb::Guardianship| g.guardian_id == guardian.member_id && g.child_id == child_id;
        all.iter().rfind(of_both).cloned().expect("a relation")
    }

    pub(super) async fn relation_of(&self, guardian: &MemberSession) -> pb::Guardianship {
        self.relation(guardian, &self.child.member_id).await
    }

    pub(super) async fn confirm(
        &self,
        caller: &MemberSession,
        relation: &str,
        order: Option<pb::Order>,
    ) -> Result<pb::Guardianship, Status> {
        let request = pb::ConfirmGuardianshipRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            guardianship_id: relation.to_owned(),
            kind: 0,
            order,
        };
        let mut api = self.env.guardianships();
        let confirmed = api.confirm_guardianship(by(&caller.token, request)).await?;
        Ok(confirmed.into_inner().guardianship.unwrap())
    }

    /// Confirms one relation by the call for many, and returns the reason of the refusal.
    pub(super) async fn confirm_in_bulk(&self, caller: &MemberSession, relation: &str) -> String {
        let request = pb::ConfirmGuardianshipsRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            guardianship_ids: vec![relation.to_owned()],
            order: None,
        };
        let mut api = self.env.guardianships();
        reason(&api.confirm_guardianships(by(&caller.token, request)).await)
    }

    pub(super) async fn end(&self, caller: &MemberSession, relation: &str) -> Result<(), Status> {
        let request = pb::EndGuardianshipRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            guardianship_id: relation.to_owned(),
            cause: "ошибка".to_owned(),
        };
        let mut api = self.env.guardianships();
        api.end_guardianship(by(&caller.token, request)).await.map(|_| ())
    }

    pub(super) async fn limit(
        &self,
        caller: &MemberSession,
        relation: &str,
        limits: &[RelationLimit],
        order: Option<pb::Order>,
        until_date: &str,
    ) -> Result<pb::Guardianship, Status> {
        let request = pb::LimitGuardianshipRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            guardianship_id: relation.to_owned(),
            limits: limits.iter().map(|limit| (*limit).into()).collect(),
            order,
            until_date: until_date.to_owned(),
            cause: "определение суда".to_owned(),
        };
        let mut api = self.env.guardianships();
        let limited = api.limit_guardianship(by(&caller.token, request)).await?;
        Ok(limited.into_inner().guardianship.unwrap())
    }

    /// The day in the organization's time zone after this number of days.
    pub(super) fn day(&self, after: i64) -> String {
        let time = self.env.env.now() + TimeDelta::days(after);
        time.with_timezone(&chrono_tz::Europe::Moscow)
            .date_naive()
            .to_string()
    }

    /// An order with the date of today plus this number of days.
    pub(super) fn order(&self, after: i64) -> Option<pb::Order> {
        Some(pb::Order {
            number: "2-118/2026".to_owned(),
            date: self.day(after),
            text: "Определение районного суда".to_owned(),
        })
    }

    /// Signs the members in again, because their tokens have expired.
    pub(super) async fn sign_in_again(&mut self) {
        let all = [
            ("+79160000001", &self.administrator),
            ("+79163333333", &self.teacher),
            ("+79161111111", &self.child),
            ("+79162222222", &self.mother),
            ("+79164444444", &self.father),
        ];
        let mut sessions = Vec::new();
        for (phone, member) in all {
            sessions.push(self.env.sign_in_again(phone, member).await);
        }
        let [administrator, teacher, child, mother, father] =
            sessions.try_into().unwrap_or_else(|_| panic!("five sessions"));
        (self.administrator, self.teacher, self.child) = (administrator, teacher, child);
        (self.mother, self.father) = (mother, father);
    }

    /// Ends what is due now, as the job does.
    pub(super) async fn end_due(&self) {
        let roster = parta_roster::Roster::new(
            parta_feed::Freshness::always("org-registry"),
            parta_feed::Freshness::always("membership"),
        );
        let (roster, scope) = (&roster, &parta_access::OrgScope::for_consumer("test", org(1)));
        let ended: Result<(), crate::error::Error> = self
            .env
            .db
            .write(|tx| async move { crate::guardianships::end_due(roster, &tx, scope).await })
            .await;
        ended.unwrap();
    }
}
