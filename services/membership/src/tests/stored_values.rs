//! Stored values that this build does not know: the calls that read the row are unavailable, because a guess
//! could grant more than the row means.
use chrono::Days;
use parta_ids::{AssignmentId, DutyId, GuardianshipId, MemberId, SuspensionId, TypedId, Uuid};
use parta_proto_membership::v1::{self as pb, AssignmentKind, DutyKind, RelationLimit, Role, duty_scope};
use parta_testkit::{TestDatabase, on_both};
use tonic::{Code, Status};

use super::test_env::{MemberSession, TestEnv, by, org, reason, unit};

fn uuid<T: TypedId>(id: &str) -> Uuid {
    let id: Result<T, _> = id.parse();
    id.map(T::uuid).unwrap()
}

/// A school in which each table of this page has a row.
struct School {
    env: TestEnv,
    administrator: MemberSession,
    pupil: MemberSession,
    /// A teacher with an assignment, a duty and a suspension.
    teacher: MemberSession,
    /// A teacher who has left.
    former: MemberSession,
    duty: String,
    assignment: String,
    suspension: String,
    guardianship: String,
}

impl School {
    async fn open(database: TestDatabase) -> Self {
        let env = TestEnv::open(database).await;
        let administrator = env.administrator(1).await;
        let pupil = env
            .join("+79161111111", "Ян Котов", Role::Pupil, |request| {
                request.unit_id = unit(1).to_string();
            })
            .await;
        let child = pupil.member_id.clone();
        env.join(
            "+79162222222",
            "Мария Котова",
            Role::Parent,
            |request| {
                request.child_id = child;
            },
        )
        .await;
        let teacher = env
            .join("+79163333333", "Олег Волков", Role::Teacher, |_| ())
            .await;
        let former = env
            .join("+79164444444", "Ева Орлова", Role::Teacher, |_| ())
            .await;
        env.remove(&administrator, &former.member_id, "Уволена")
            .await
            .unwrap();
        let kind = AssignmentKind::SubjectTeacher;
        let assignment = env
            .assign(&administrator, &teacher.member_id, unit(1), kind)
            .await
            .unwrap();
        let mut school = Self {
            env,
            administrator,
            pupil,
            teacher,
            former,
            duty: String::new(),
            assignment,
            suspension: String::new(),
            guardianship: String::new(),
        };
        school.duty = school.assign_duty().await;
        school.suspension = school.suspend().await;
        school.guardianship = school.limit_relation().await;
        school
    }

    async fn assign_duty(&self) -> String {
        let today = self.env.env.now().date_naive();
        let scope = duty_scope::Scope::UnitId(unit(1).to_string());
        let request = pb::AssignDutyRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            member_id: self.teacher.member_id.clone(),
            kind: DutyKind::Psychologist.into(),
            scope: Some(pb::DutyScope { scope: Some(scope) }),
            order: Some(self.order()),
            until_date: (today + Days::new(2)).to_string(),
        };
        let request = by(&self.administrator.token, request);
        let assigned = self.env.duties().assign_duty(request).await.unwrap();
        assigned.into_inner().duty.unwrap().id
    }

    async fn suspend(&self) -> String {
        let request = pb::SuspendMemberRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            member_id: self.teacher.member_id.clone(),
            roles: vec![Role::Teacher.into()],
            cause: "Служебная проверка".to_owned(),
        };
        let request = by(&self.administrator.token, request);
        let suspended = self.env.suspensions().suspend_member(request).await.unwrap();
        suspended.into_inner().suspension.unwrap().id
    }

    /// Limits the only relation, and returns its id.
    async fn limit_relation(&self) -> String {
        let list = pb::ListGuardianshipsRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let mut api = self.env.guardianships();
        let request = by(&self.administrator.token, list);
        let listed = api.list_guardianships(request).await.unwrap().into_inner();
        let id = listed.guardianships[0].id.clone();
        let limit = pb::LimitGuardianshipRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            guardianship_id: id.clone(),
            limits: vec![RelationLimit::NoContact.into()],
            order: Some(self.order()),
            until_date: String::new(),
            cause: "определение суда".to_owned(),
        };
        let request = by(&self.administrator.token, limit);
        api.limit_guardianship(request).await.unwrap();
        id
    }

    fn order(&self) -> pb::Order {
        pb::Order {
            number: "12-к".to_owned(),
            date: self.env.env.now().date_naive().to_string(),
            text: "О назначении".to_owned(),
        }
    }

    /// Reads the rows of a table as the administrator.
    async fn read(&self, table: &str) -> Result<(), Status> {
        let (org_id, token) = (org(1).to_string(), &self.administrator.token);
        match table {
            "assignment" => {
                let request = pb::ListAssignmentsRequest {
                    org_id,
                    ..Default::default()
                };
                self.env
                    .assignments()
                    .list_assignments(by(token, request))
                    .await?;
            }
            "duty" => {
                let request = pb::ListDutiesRequest {
                    org_id,
                    ..Default::default()
                };
                self.env.duties().list_duties(by(token, request)).await?;
            }
            "guardianship" | "relation_limit" => {
                let request = pb::ListGuardianshipsRequest {
                    org_id,
                    ..Default::default()
                };
                self.env
                    .guardianships()
                    .list_guardianships(by(token, request))
                    .await?;
            }
            "suspension" => {
                let request = pb::ListSuspensionsRequest {
                    org_id,
                    ..Default::default()
                };
                self.env
                    .suspensions()
                    .list_suspensions(by(token, request))
                    .await?;
            }
            _ => {
                let request = pb::ListMembersRequest {
                    org_id,
                    include_left: true,
                    ..Default::default()
                };
                self.env.members().list_members(by(token, request)).await?;
            }
        }
        Ok(())
    }
}

on_both!(
    unknown_values_are_unavailable_until_known,
    |database| async move {
        parta_testkit::logs().allow("a stored value is not known to this build");
        let s = School::open(database).await;
        let pupil = uuid::<MemberId>(&s.pupil.member_id);
        let former = uuid::<MemberId>(&s.former.member_id);
        let (assignment, duty) = (uuid::<AssignmentId>(&s.assignment), uuid::<DutyId>(&s.duty));
        let relation = uuid::<GuardianshipId>(&s.guardianship);
        let suspension = uuid::<SuspensionId>(&s.suspension);
        for (table, column, key, id) in [
            ("assignment", "kind", "assignment_id", assignment),
            ("duty", "kind", "duty_id", duty),
            ("guardianship", "kind", "guardianship_id", relation),
            ("guardianship", "adult_access", "guardianship_id", relation),
            ("relation_limit", "limits", "guardianship_id", relation),
            ("suspension", "roles", "suspension_id", suspension),
            ("member", "roles", "member_id", pupil),
            ("member", "state", "member_id", pupil),
            ("member", "leave_reason", "member_id", former),
        ] {
            s.read(table).await.unwrap();
            let unknown = format!("{column} = {column} + 1048576");
            s.env.change_row(table, &unknown, key, id).await;
            let refused = s.read(table).await;
            assert_eq!(reason(&refused), "STORED_VALUE_UNKNOWN", "{table}.{column}");
            assert_eq!(refused.unwrap_err().code(), Code::Unavailable, "{table}.{column}");
            let known = format!("{column} = {column} - 1048576");
            s.env.change_row(table, &known, key, id).await;
            s.read(table).await.unwrap();
        }
        s.env.close().await;
    }
);
