//! Stored values that this build does not know: the calls that read the row are unavailable, because a guess
//! could grant more than the row means.
use chrono::Days;
use parta_ids::{
    AssignmentId, DutyId, GuardianshipId, InvitationId, JoinRequestId, MemberId, OrgId, RoleChangeId,
    RosterImportId, SuspensionId, TypedId, Uuid,
};
use parta_proto_membership::{
    internal::v1::AdmitMemberRequest,
    v1::{self as pb, AssignmentKind, DutyKind, JoinRequestState, RelationLimit, Role, duty_scope},
};
use parta_testkit::{TestDatabase, on_both};
use tonic::{Code, Status};

use super::test_env::{MemberSession, Person, TestEnv, by, org, reason, unit};
use crate::roster_import::tests::edge::check_small_import;

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
    /// The change that ended the role and the only assignment of a teacher.
    role_change: String,
    applicant: Person,
    join_request: String,
    import: String,
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
        let applicant = env.newcomer("+79165555555", "Павел Соколов").await;
        let join_request = request_to_join(&env, &applicant, org(1)).await;
        let import = check_small_import(&env, &administrator).await;
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
            role_change: String::new(),
            applicant,
            join_request,
            import,
        };
        school.duty = school.assign_duty().await;
        school.suspension = school.suspend().await;
        school.guardianship = school.limit_relation().await;
        school.role_change = school.revoke_role().await;
        school
    }

    /// Takes the role from a teacher with one assignment, and returns the id of the change.
    async fn revoke_role(&self) -> String {
        let teacher = self
            .env
            .class_teacher(&self.administrator, "+79166666666", unit(2))
            .await;
        let roles = [Role::Parent];
        let changed = self
            .env
            .change_roles(&self.administrator, &teacher.member_id, &roles);
        changed.await.unwrap();
        let listed = self.role_changes().await.unwrap();
        listed[0].id.clone()
    }

    async fn role_changes(&self) -> Result<Vec<pb::RoleChange>, Status> {
        let request = pb::ListRoleChangesRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let mut api = self.env.roles();
        let request = by(&self.administrator.token, request);
        Ok(api.list_role_changes(request).await?.into_inner().role_changes)
    }

    /// Withdraws the request, also again, and reads it as staff do.
    async fn withdraw(&self) -> Result<(), Status> {
        let request = pb::WithdrawJoinRequestRequest {
            request_id: self.env.act(),
            join_request_id: self.join_request.clone(),
        };
        let mut api = self.env.join_requests();
        api.withdraw_join_request(by(&self.applicant.token, request))
            .await?;
        let request = pb::ListJoinRequestsRequest {
            org_id: org(1).to_string(),
            state: JoinRequestState::Withdrawn.into(),
            ..Default::default()
        };
        let request = by(&self.administrator.token, request);
        let listed = api.list_join_requests(request).await?.into_inner();
        assert_eq!(listed.join_requests.len(), 1);
        Ok(())
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
            "role_change" | "role_change_fact" => {
                self.role_changes().await?;
            }
            "join_request" => self.withdraw().await?,
            "roster_import" => {
                let request = pb::GetRosterImportRequest {
                    org_id,
                    roster_import_id: self.import.clone(),
                };
                self.env
                    .roster_imports()
                    .get_roster_import(by(token, request))
                    .await?;
            }
            "roster_import_change" => {
                let request = pb::ListRosterImportChangesRequest {
                    org_id,
                    roster_import_id: self.import.clone(),
                    ..Default::default()
                };
                self.env
                    .roster_imports()
                    .list_roster_import_changes(by(token, request))
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

/// Accepts a new link that names nobody, and returns the request to join.
async fn request_to_join(env: &TestEnv, person: &Person, org: OrgId) -> String {
    let link = env.env.id::<InvitationId>().to_string();
    let request = AdmitMemberRequest {
        request_id: env.act(),
        org_id: org.to_string(),
        flow_id: env.flow(person, &link).await,
        invitation_id: link,
        role: Role::Staff.into(),
        issuer_id: env.env.id::<MemberId>().to_string(),
        open: true,
        ..Default::default()
    };
    let requested = env.admission().admit_member(request).await.unwrap();
    requested.into_inner().join_request_id
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
        let role_change = uuid::<RoleChangeId>(&s.role_change);
        let join_request = uuid::<JoinRequestId>(&s.join_request);
        let import = uuid::<RosterImportId>(&s.import);
        let first_change = "seq = 1 AND import_id";
        let mut rows = Vec::new();
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
            ("role_change", "lost_roles", "role_change_id", role_change),
            ("role_change_fact", "kind", "role_change_id", role_change),
            ("join_request", "state", "join_request_id", join_request),
            ("join_request", "role", "join_request_id", join_request),
            ("roster_import", "state", "import_id", import),
            ("roster_import_change", "kind", first_change, import),
            ("roster_import_change", "outcome", first_change, import),
            ("roster_import_change", "no_effect", first_change, import),
        ] {
            // A number that fits each column, and a bit that no mask has.
            let unknown = format!("{column} = {column} + 16384");
            let known = format!("{column} = {column} - 16384");
            rows.push((table, unknown, known, key, id));
        }
        for (table, column, known, key) in [
            ("roster_import", "planned", "done", "import_id"),
            ("roster_import", "done", "planned", "import_id"),
            ("roster_import", "mass_changes", "'[]'", "import_id"),
            ("roster_import", "classes", "'{}'", "import_id"),
            ("roster_import", "archived_units", "'[]'", "import_id"),
            ("roster_import_change", "file", "'users.csv'", first_change),
        ] {
            let (unknown, known) = (format!("{column} = 'x'"), format!("{column} = {known}"));
            rows.push((table, unknown, known, key, import));
        }
        for (table, unknown, known, key, id) in rows {
            s.read(table).await.unwrap();
            s.env.change_row(table, &unknown, key, id).await;
            let refused = s.read(table).await;
            assert_eq!(reason(&refused), "STORED_VALUE_UNKNOWN", "{table}: {unknown}");
            assert_eq!(
                refused.unwrap_err().code(),
                Code::Unavailable,
                "{table}: {unknown}"
            );
            s.env.change_row(table, &known, key, id).await;
            s.read(table).await.unwrap();
        }
        s.env.close().await;
    }
);

// A person sees the requests to other organizations.
on_both!(
    unreadable_request_affects_one_organization_only,
    |database| async move {
        parta_testkit::logs().allow("a request to join was left out of a list");
        let env = TestEnv::open(database).await;
        env.administrator(1).await;
        env.administrator(2).await;
        let person = env.newcomer("+79165555555", "Павел Соколов").await;
        let first = request_to_join(&env, &person, org(1)).await;
        let second = request_to_join(&env, &person, org(2)).await;
        let own = async || {
            let request = pb::ListOwnJoinRequestsRequest::default();
            let mut api = env.join_requests();
            let listed = api.list_own_join_requests(by(&person.token, request)).await;
            let listed = listed.unwrap().into_inner().join_requests;
            listed.into_iter().map(|own| own.id).collect::<Vec<_>>()
        };
        assert_eq!(own().await, [second.clone(), first.clone()]);
        let unknown = "state = state + 16384";
        let id = uuid::<JoinRequestId>(&first);
        env.change_row("join_request", unknown, "join_request_id", id)
            .await;
        assert_eq!(own().await, [second]);
        env.close().await;
    }
);
