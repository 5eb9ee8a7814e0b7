//! Every pair of mutations that touch one row, at the same time, on PostgreSQL. SQLite has one writer.
mod staff;

use std::sync::atomic::{AtomicU32, Ordering};

use parta_ids::{GuardianshipId, InvitationId, MemberId, OrgId, TypedId, Uuid};
use parta_proto_membership::{
    internal::v1::AdmitMemberRequest,
    v1::{self as pb, AssignmentKind, Role},
};
use parta_service_testkit::Races;
use parta_testkit::{TestDatabase, on_postgres};
use sea_orm::{ConnectionTrait as _, Statement};
use tonic::Status;

use super::test_env::{MemberSession, Person, TestEnv, by, org, reason, unit};
use crate::roster_import::tests::edge::check_small_import;

/// The phone of another person with each call.
fn new_phone() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("+7916{:07}", 6_000_000 + NEXT.fetch_add(1, Ordering::SeqCst))
}

fn uuid<T: TypedId>(id: &str) -> Uuid {
    id.parse::<T>().unwrap_or_else(|_| panic!("{id} is no id")).uuid()
}

/// A service with an administrator and two parents.
struct School {
    test_env: TestEnv,
    administrator: MemberSession,
    parents: [Person; 2],
}

impl School {
    async fn open(database: TestDatabase) -> Self {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        let parent = async || test_env.newcomer(&new_phone(), "Ольга Иванова").await;
        let parents = [parent().await, parent().await];
        let school = Self {
            administrator,
            parents,
            test_env,
        };
        // Both parents are members before the first pair meets.
        school.relate(1, &school.child().await.member).await.unwrap();
        school
    }

    fn by_administrator<T>(&self, message: T) -> tonic::Request<T> {
        by(&self.administrator.token, message)
    }

    /// Admits a person by another link with each call.
    async fn admit(
        &self,
        person: &Person,
        org: OrgId,
        role: Role,
        change: impl FnOnce(&mut AdmitMemberRequest) + Send,
    ) -> Result<(), Status> {
        let invitation = self.test_env.env.id::<InvitationId>().to_string();
        let mut request = AdmitMemberRequest {
            request_id: self.test_env.act(),
            org_id: org.to_string(),
            flow_id: self.test_env.flow(person, &invitation).await,
            invitation_id: invitation,
            role: role.into(),
            issuer_id: self.test_env.env.id::<MemberId>().to_string(),
            ..Default::default()
        };
        change(&mut request);
        self.test_env.admission().admit_member(request).await.map(|_| ())
    }

    async fn relate(&self, parent: usize, child: &str) -> Result<(), Status> {
        let child = child.to_owned();
        let parent = &self.parents[parent];
        self.admit(parent, org(1), Role::Parent, |admit| admit.child_id = child)
            .await
    }

    async fn change_roles(
        &self,
        caller: &MemberSession,
        org: OrgId,
        member: &str,
        roles: &[Role],
    ) -> Result<(), Status> {
        // If the other act of the pair came between the preview and the change, a client previews again.
        loop {
            let request = self.test_env.previewed(caller, org, member, roles).await;
            let mut api = self.test_env.members();
            let changed = api.change_member_roles(by(&caller.token, request)).await;
            if reason(&changed) != "PREVIEW_STALE" {
                return changed.map(drop);
            }
        }
    }

    async fn remove(&self, caller: &MemberSession, org: OrgId, member: &str) -> Result<(), Status> {
        let request = pb::RemoveMemberRequest {
            request_id: self.test_env.act(),
            org_id: org.to_string(),
            member_id: member.to_owned(),
            etag: String::new(),
            ..Default::default()
        };
        let mut api = self.test_env.members();
        api.remove_member(by(&caller.token, request)).await.map(|_| ())
    }

    /// Creates a pupil who is enrolled in the first class and has an unconfirmed parent.
    async fn child(&self) -> Child {
        let request = pb::CreateMemberRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            full_name: "Пётр Иванов".to_owned(),
            role: Role::Pupil.into(),
            unit_id: unit(1).to_string(),
        };
        let created = self
            .test_env
            .members()
            .create_member(self.by_administrator(request))
            .await;
        let member = created.unwrap().into_inner().member.unwrap().id;
        self.relate(0, &member).await.unwrap();
        let db = &self.test_env.db;
        let sql = "SELECT guardianship_id FROM guardianship WHERE child_id = $1";
        let id = uuid::<MemberId>(&member);
        let statement = Statement::from_sql_and_values(db.backend(), sql, [id.into()]);
        let row = db.conn().query_one_raw(statement).await.unwrap().unwrap();
        let guardianship = GuardianshipId::from_uuid(row.try_get("", "guardianship_id").unwrap());
        Child {
            id,
            member,
            guardianship: guardianship.to_string(),
        }
    }
}

struct Child {
    id: Uuid,
    member: String,
    guardianship: String,
}

on_postgres!(
    /// Covers: R24 allowed, R24 refused, R27 allowed, R27 refused
    pairs_about_one_member_end_as_in_a_serial_order,
    "SQLite has one writer",
    |database: TestDatabase| async move {
        let url = database.url().to_owned();
        let school = School::open(database).await;
        let races = Races::<School, Child> {
            acts: vec![
                ("RemoveMember", |school, child| {
                    Box::pin(school.remove(&school.administrator, org(1), &child.member))
                }),
                ("CorrectMemberName", |school, child| Box::pin(async move {
                    let request = pb::CorrectMemberNameRequest {
                        request_id: school.test_env.act(),
                        org_id: org(1).to_string(),
                        member_id: child.member.clone(),
                        full_name: "Пётр Ильин".to_owned(),
                        sealed: false,
                        etag: String::new(),
                    };
                    let mut api = school.test_env.members();
                    api.correct_member_name(school.by_administrator(request)).await.map(|_| ())
                })),
                ("ReleaseProfile", |school, child| Box::pin(async move {
                    let request = pb::ReleaseProfileRequest {
                        request_id: school.test_env.act(),
                        org_id: org(1).to_string(),
                        member_id: child.member.clone(),
                        etag: String::new(),
                    };
                    let mut api = school.test_env.members();
                    api.release_profile(school.by_administrator(request)).await.map(|_| ())
                })),
                ("EnrollPupil", |school, child| Box::pin(async move {
                    let request = pb::EnrollPupilRequest {
                        request_id: school.test_env.act(),
                        org_id: org(1).to_string(),
                        member_id: child.member.clone(),
                        unit_id: unit(2).to_string(),
                    };
                    let mut api = school.test_env.enrollments();
                    api.enroll_pupil(school.by_administrator(request)).await.map(|_| ())
                })),
                ("TransferPupil", |school, child| Box::pin(async move {
                    let request = pb::TransferPupilRequest {
                        request_id: school.test_env.act(),
                        org_id: org(1).to_string(),
                        member_id: child.member.clone(),
                        from_unit_id: unit(1).to_string(),
                        to_unit_id: unit(2).to_string(),
                    };
                    let mut api = school.test_env.enrollments();
                    api.transfer_pupil(school.by_administrator(request)).await.map(|_| ())
                })),
                ("ChangeMemberRoles", |school, child| {
                    Box::pin(school.change_roles(&school.administrator, org(1), &child.member, &[Role::Staff]))
                }),
                ("ConfirmGuardianship", |school, child| Box::pin(async move {
                    let request = pb::ConfirmGuardianshipRequest {
                        request_id: school.test_env.act(),
                        org_id: org(1).to_string(),
                        guardianship_id: child.guardianship.clone(),
                        kind: 0,
                        // The parent of all pairs has more than six children.
                        order: Some(pb::Order {
                            number: "7".to_owned(),
                            date: "2026-09-01".to_owned(),
                            text: "Приказ".to_owned(),
                        }),
                    };
                    let mut api = school.test_env.guardianships();
                    api.confirm_guardianship(school.by_administrator(request)).await.map(|_| ())
                })),
                ("EndGuardianship", |school, child| Box::pin(async move {
                    let request = pb::EndGuardianshipRequest {
                        request_id: school.test_env.act(),
                        org_id: org(1).to_string(),
                        guardianship_id: child.guardianship.clone(),
                        cause: "ошибка".to_owned(),
                    };
                    let mut api = school.test_env.guardianships();
                    api.end_guardianship(school.by_administrator(request)).await.map(|_| ())
                })),
                ("LimitGuardianship", |school, child| Box::pin(async move {
                    let request = pb::LimitGuardianshipRequest {
                        request_id: school.test_env.act(),
                        org_id: org(1).to_string(),
                        guardianship_id: child.guardianship.clone(),
                        limits: vec![pb::RelationLimit::NoContact.into()],
                        cause: "заявление".to_owned(),
                        ..Default::default()
                    };
                    let mut api = school.test_env.guardianships();
                    api.limit_guardianship(school.by_administrator(request)).await.map(|_| ())
                })),
                ("AdmitMember as its parent", |school, child| Box::pin(school.relate(1, &child.member))),
                ("AdmitMember as itself", |school, child| Box::pin(async move {
                    let person = school.test_env.newcomer(&new_phone(), "Пётр Иванов").await;
                    let member = child.member.clone();
                    school.admit(&person, org(1), Role::Pupil, |admit| {
                        admit.claim_member_id = member;
                        admit.unit_id = unit(1).to_string();
                    }).await
                })),
            ],
            subject: |school| Box::pin(school.child()),
            barrier: |child| {
                let lock = |table: &str, column: &str| {
                    format!("SELECT 1 FROM {table} WHERE {column} = '{}' FOR UPDATE", child.id)
                };
                vec![
                    lock("member", "member_id"),
                    lock("guardianship", "child_id"),
                ]
            },
            compares_reasons: true,
            state: |child| {
                let live = |what: &str, table: &str, column: &str| {
                    format!(
                        "SELECT STRING_AGG({what}, ',' ORDER BY {what}) FROM {table} \
                         WHERE {column} = '{}' AND end_time IS NULL",
                        child.id
                    )
                };
                vec![
                    format!(
                        "SELECT CONCAT_WS(' ', full_name, state, roles, teacher_verified, account_id IS NOT NULL) \
                         FROM member WHERE member_id = '{}'",
                        child.id
                    ),
                    live("unit_id::TEXT", "enrollment", "member_id"),
                    live("confirmed::TEXT", "guardianship", "child_id"),
                    live("limits::TEXT", "relation_limit", "child_id"),
                ]
            },
        };
        races.run(&school, &url).await;
        school.test_env.close().await;
    }
);

/// An organization with two administrators.
struct Administration {
    org: OrgId,
    administrators: [MemberSession; 2],
}

impl School {
    /// Creates an organization and the person who may claim its appointment.
    async fn founded(&self) -> (OrgId, Person) {
        let (org, phone) = (self.test_env.env.id::<OrgId>(), new_phone());
        self.test_env.create_school(org, &phone).await;
        (org, self.test_env.newcomer(&phone, "Анна Петрова").await)
    }

    async fn administration(&self) -> Administration {
        let (org, person) = self.founded().await;
        self.test_env.claim(&person, org).await.unwrap();
        let first = self.test_env.member_session(org, person).await.unwrap();
        let person = self.test_env.newcomer(&new_phone(), "Иван Орлов").await;
        self.admit(&person, org, Role::Staff, |_| {}).await.unwrap();
        let second = self.test_env.member_session(org, person).await.unwrap();
        let roles = [Role::Staff, Role::Administrator];
        self.change_roles(&first, org, &second.member_id, &roles)
            .await
            .unwrap();
        Administration {
            org,
            administrators: [first, second],
        }
    }
}

on_postgres!(
    /// Covers: R24 refused
    pairs_about_two_administrators_leave_one,
    "SQLite has one writer",
    |database: TestDatabase| async move {
        let url = database.url().to_owned();
        let school = School::open(database).await;
        let races = Races::<School, Administration> {
            acts: vec![
                ("the first leaves", |school, of| Box::pin(async move {
                    let [first, _] = &of.administrators;
                    school.remove(first, of.org, &first.member_id).await
                })),
                ("the second leaves", |school, of| Box::pin(async move {
                    let [_, second] = &of.administrators;
                    school.remove(second, of.org, &second.member_id).await
                })),
                ("the first gives the role away", |school, of| Box::pin(async move {
                    let [first, _] = &of.administrators;
                    school.change_roles(first, of.org, &first.member_id, &[Role::Staff]).await
                })),
                ("the first takes the role of the second", |school, of| Box::pin(async move {
                    let [first, second] = &of.administrators;
                    school.change_roles(first, of.org, &second.member_id, &[Role::Staff]).await
                })),
                ("the second removes the first", |school, of| Box::pin(async move {
                    let [first, second] = &of.administrators;
                    school.remove(second, of.org, &first.member_id).await
                })),
            ],
            subject: |school| Box::pin(school.administration()),
            barrier: |of| vec![format!("SELECT 1 FROM member WHERE org_id = '{}' FOR UPDATE", of.org.uuid())],
            compares_reasons: false,
            state: |of| vec![format!(
                "SELECT STRING_AGG(state || ' ' || roles, ',' ORDER BY create_time, member_id) \
                 FROM member WHERE org_id = '{}'",
                of.org.uuid()
            )],
        };
        races.run(&school, &url).await;
        school.test_env.close().await;
    }
);

on_postgres!(
    /// Covers: R3 refused
    pairs_about_one_appointment_make_one_member,
    "SQLite has one writer",
    |database: TestDatabase| async move {
        let url = database.url().to_owned();
        let school = School::open(database).await;
        let races = Races::<School, (OrgId, Person)> {
            acts: vec![
                ("ClaimAppointment", |school, (org, person)| Box::pin(async move {
                    school.test_env.claim(person, *org).await.map(|_| ())
                })),
                ("AdmitMember", |school, (org, person)| {
                    Box::pin(school.admit(person, *org, Role::Staff, |_| {}))
                }),
            ],
            subject: |school| Box::pin(school.founded()),
            barrier: |(org, _)| vec![
                format!("SELECT 1 FROM appointment WHERE org_id = '{}' FOR UPDATE", org.uuid()),
                "LOCK TABLE member IN EXCLUSIVE MODE".to_owned(),
            ],
            compares_reasons: true,
            state: |(org, _)| vec![format!(
                "SELECT STRING_AGG(state || ' ' || roles, ',') FROM member WHERE org_id = '{}'",
                org.uuid()
            )],
        };
        races.run(&school, &url).await;
        school.test_env.close().await;
    }
);

/// The ids of two checked imports.
type Imports = [String; 2];

impl School {
    /// Checks two imports, after it has removed those of before.
    async fn imports(&self) -> Imports {
        let tables = [
            "roster_import_change",
            "roster_import_problem",
            "roster_import",
            "job",
        ];
        for table in tables {
            let sql = format!("DELETE FROM {table}");
            self.test_env.db.writer().execute_unprepared(&sql).await.unwrap();
        }
        let check = async || check_small_import(&self.test_env, &self.administrator).await;
        [check().await, check().await]
    }

    async fn start(&self, import: &str) -> Result<(), Status> {
        let request = pb::StartRosterImportRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            roster_import_id: import.to_owned(),
            ..Default::default()
        };
        let mut api = self.test_env.roster_imports();
        api.start_roster_import(self.by_administrator(request))
            .await
            .map(|_| ())
    }
}

on_postgres!(
    /// Covers: R31 refused
    imports_that_start_at_once_do_not_run_together,
    "SQLite has one writer",
    |database: TestDatabase| async move {
        let url = database.url().to_owned();
        let school = School::open(database).await;
        let races = Races::<School, Imports> {
            acts: vec![
                ("StartRosterImport of one", |school, [one, _]| Box::pin(school.start(one))),
                ("StartRosterImport of the other", |school, [_, other]| Box::pin(school.start(other))),
            ],
            subject: |school| Box::pin(school.imports()),
            barrier: |_| vec!["SELECT 1 FROM roster_import FOR UPDATE".to_owned()],
            compares_reasons: true,
            state: |_| vec![
                "SELECT STRING_AGG(state::TEXT, ',' ORDER BY import_id) FROM roster_import".to_owned(),
                "SELECT COUNT(*)::TEXT FROM job".to_owned(),
            ],
        };
        races.run(&school, &url).await;
        school.test_env.close().await;
    }
);
