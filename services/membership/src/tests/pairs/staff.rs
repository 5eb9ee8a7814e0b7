//! Pairs about a teacher.
use super::*;

struct TaughtClass {
    id: Uuid,
    member: String,
    assignment: String,
}

impl School {
    /// Creates a teacher who is assigned to the second class.
    async fn taught_class(&self) -> TaughtClass {
        let person = self.test_env.newcomer(&new_phone(), "Анна Белова").await;
        self.admit(&person, org(1), Role::Teacher, |_| {}).await.unwrap();
        let member = self
            .test_env
            .member_session(org(1), person)
            .await
            .unwrap()
            .member_id;
        let (by, kind) = (&self.administrator, AssignmentKind::SubjectTeacher);
        let assignment = self.test_env.assign(by, &member, unit(2), kind).await.unwrap();
        TaughtClass {
            id: uuid::<MemberId>(&member),
            member,
            assignment,
        }
    }
}

on_postgres!(
    /// Covers: R22 allowed, R24 allowed, R25 allowed
    pairs_about_one_teacher_end_as_in_a_serial_order,
    "SQLite has one writer",
    |database: TestDatabase| async move {
        let url = database.url().to_owned();
        let school = School::open(database).await;
        let races = Races::<School, TaughtClass> {
            acts: vec![
                ("RemoveMember", |school, child| {
                    Box::pin(school.remove(&school.administrator, org(1), &child.member))
                }),
                ("CreateAssignment", |school, child| Box::pin(async move {
                    let (by, kind) = (&school.administrator, AssignmentKind::SubjectTeacher);
                    school.test_env.assign(by, &child.member, unit(1), kind).await.map(|_| ())
                })),
                ("EndAssignment", |school, child| Box::pin(async move {
                    let request = pb::EndAssignmentRequest {
                        request_id: school.test_env.act(),
                        org_id: org(1).to_string(),
                        assignment_id: child.assignment.clone(),
                    };
                    let mut api = school.test_env.assignments();
                    api.end_assignment(school.by_administrator(request)).await.map(|_| ())
                })),
                ("ChangeMemberRoles", |school, child| {
                    Box::pin(school.change_roles(&school.administrator, org(1), &child.member, &[Role::Staff]))
                }),
                ("VerifyTeacher", |school, child| Box::pin(async move {
                    school.test_env.verify_teacher(&school.administrator, &child.member).await.map(|_| ())
                })),
            ],
            subject: |school| Box::pin(school.taught_class()),
            barrier: |taught| {
                let lock = |table: &str, column: &str| {
                    format!("SELECT 1 FROM {table} WHERE {column} = '{}' FOR UPDATE", taught.id)
                };
                vec![lock("member", "member_id"), lock("assignment", "member_id")]
            },
            compares_reasons: true,
            state: |taught| {
                vec![
                    format!(
                        "SELECT CONCAT_WS(' ', state, roles, teacher_verified) FROM member WHERE member_id = '{}'",
                        taught.id
                    ),
                    format!(
                        "SELECT STRING_AGG(unit_id::TEXT, ',' ORDER BY unit_id::TEXT) FROM assignment \
                         WHERE member_id = '{}' AND end_time IS NULL",
                        taught.id
                    ),
                ]
            },
        };
        races.run(&school, &url).await;
        school.test_env.close().await;
    }
);
