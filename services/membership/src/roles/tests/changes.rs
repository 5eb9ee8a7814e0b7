//! The preview of a change of roles, and the fixture of its tests (F2).
use std::slice;

use chrono::{Days, TimeDelta};
use parta_proto_membership::v1::{self as pb, AssignmentKind, DutyKind, Role, duty_scope::Scope};
use parta_service_testkit::fields;
use parta_testkit::{TestDatabase, on_both};
use tonic::Status;

use crate::tests::test_env::{MemberSession, TestEnv, by, org, reason, unit};

/// A verified class teacher with a duty, a pupil of the class and the pupil's confirmed mother.
pub(super) struct School {
    pub(super) env: TestEnv,
    pub(super) administrator: MemberSession,
    pub(super) teacher: MemberSession,
    pub(super) pupil: MemberSession,
    pub(super) mother: MemberSession,
}

impl School {
    pub(super) async fn open(database: TestDatabase) -> Self {
        let env = TestEnv::open(database).await;
        let administrator = env.administrator(1).await;
        let teacher = env.class_teacher(&administrator, "+79161111111", unit(1)).await;
        let pupil = env.join_pupil("+79162222222", "Ева Орлова", 1).await;
        let mother = env
            .join("+79163333333", "Вера Орлова", Role::Parent, |request| {
                request.child_id = pupil.member_id.clone();
            })
            .await;
        let school = Self {
            env,
            administrator,
            teacher,
            pupil,
            mother,
        };
        let relation = school.relations().await.remove(0);
        school.confirm(&relation.id).await;
        school.assign_duty(&school.teacher.member_id).await;
        school
    }

    pub(super) async fn confirm(&self, relation: &str) {
        let request = pb::ConfirmGuardianshipRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            guardianship_id: relation.to_owned(),
            ..Default::default()
        };
        let mut api = self.env.guardianships();
        let confirmed = api.confirm_guardianship(by(&self.administrator.token, request));
        confirmed.await.unwrap();
    }

    /// Assigns the duty of a librarian of the organization for two days.
    pub(super) async fn assign_duty(&self, member_id: &str) {
        self.assign_in(member_id, Scope::Organization(true)).await;
    }

    /// Assigns the duty of a librarian for two days.
    pub(super) async fn assign_in(&self, member_id: &str, scope: Scope) {
        let today = self.env.env.now().date_naive();
        let request = pb::AssignDutyRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            member_id: member_id.to_owned(),
            kind: DutyKind::Librarian.into(),
            scope: Some(pb::DutyScope { scope: Some(scope) }),
            order: Some(pb::Order {
                number: "12-к".to_owned(),
                date: today.to_string(),
                text: "О назначении".to_owned(),
            }),
            until_date: (today + Days::new(2)).to_string(),
        };
        let mut api = self.env.duties();
        api.assign_duty(by(&self.administrator.token, request))
            .await
            .unwrap();
    }

    /// The relations that have not ended.
    pub(super) async fn relations(&self) -> Vec<pb::Guardianship> {
        let request = pb::ListGuardianshipsRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let mut api = self.env.guardianships();
        let listed = api.list_guardianships(by(&self.administrator.token, request));
        listed.await.unwrap().into_inner().guardianships
    }

    pub(super) async fn assignments(&self) -> Vec<pb::Assignment> {
        let request = pb::ListAssignmentsRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let mut api = self.env.assignments();
        let listed = api.list_assignments(by(&self.administrator.token, request));
        listed.await.unwrap().into_inner().assignments
    }

    pub(super) async fn duties(&self) -> Vec<pb::Duty> {
        let request = pb::ListDutiesRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let mut api = self.env.duties();
        let listed = api.list_duties(by(&self.administrator.token, request));
        listed.await.unwrap().into_inner().duties
    }

    pub(super) async fn preview(
        &self,
        caller: &MemberSession,
        member_id: &str,
        roles: &[Role],
    ) -> Result<pb::PreviewRoleChangeResponse, Status> {
        let request = pb::PreviewRoleChangeRequest {
            org_id: org(1).to_string(),
            member_id: member_id.to_owned(),
            roles: roles.iter().map(|role| (*role).into()).collect(),
        };
        let mut api = self.env.roles();
        let preview = api.preview_role_change(by(&caller.token, request)).await?;
        Ok(preview.into_inner())
    }

    /// Changes roles with this etag of a preview.
    pub(super) async fn change(
        &self,
        member_id: &str,
        roles: &[Role],
        preview_etag: &str,
    ) -> Result<pb::ChangeMemberRolesResponse, Status> {
        let request = pb::ChangeMemberRolesRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            member_id: member_id.to_owned(),
            roles: roles.iter().map(|role| (*role).into()).collect(),
            etag: String::new(),
            preview_etag: preview_etag.to_owned(),
        };
        let mut api = self.env.members();
        let changed = api.change_member_roles(by(&self.administrator.token, request));
        Ok(changed.await?.into_inner())
    }

    /// Changes roles as previewed, and returns the id of the change.
    pub(super) async fn revoke(&self, member_id: &str, roles: &[Role]) -> String {
        let preview = self.preview(&self.administrator, member_id, roles).await.unwrap();
        let changed = self.change(member_id, roles, &preview.preview_etag).await;
        changed.unwrap().role_change_id
    }

    pub(super) async fn changes(&self, caller: &MemberSession) -> Result<Vec<pb::RoleChange>, Status> {
        let request = pb::ListRoleChangesRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let mut api = self.env.roles();
        let listed = api.list_role_changes(by(&caller.token, request)).await?;
        Ok(listed.into_inner().role_changes)
    }
}

// The preview names all that a change ends and changes nothing. Without it, and after anything of it has
// changed, the change is refused. A change by which nothing is lost needs no preview.
// Covers: F2 allowed, F2 refused, R23 allowed, R23 refused
on_both!(
    change_of_roles_ends_what_its_preview_showed,
    |database| async move {
        let school = School::open(database).await;
        let id = school.teacher.member_id.as_str();
        let administrator = &school.administrator;
        let preview = school.preview(administrator, id, &[Role::Parent]).await.unwrap();
        let ending = preview.ending.clone().unwrap();
        assert_eq!(preview.added_roles, [i32::from(Role::Parent)]);
        assert_eq!(ending.roles, [i32::from(Role::Teacher)]);
        assert!(ending.badge);
        let [assignment] = &school.assignments().await[..] else {
            panic!("one assignment");
        };
        assert_eq!(ending.assignment_ids, slice::from_ref(&assignment.id));
        let [duty] = &school.duties().await[..] else {
            panic!("one duty");
        };
        assert_eq!(ending.duty_ids, slice::from_ref(&duty.id));
        assert!(ending.enrollment_ids.is_empty() && ending.guardianship_ids.is_empty());
        // The teacher keeps the duty with another role of the staff.
        let as_staff = school.preview(administrator, id, &[Role::Staff]).await.unwrap();
        assert!(as_staff.ending.unwrap().duty_ids.is_empty());

        for etag in ["", "0", &as_staff.preview_etag] {
            let refused = school.change(id, &[Role::Parent], etag).await;
            assert_eq!(reason(&refused), "PREVIEW_STALE", "{etag:?}");
        }
        let kind = AssignmentKind::SubjectTeacher;
        school.env.assign(administrator, id, unit(2), kind).await.unwrap();
        let refused = school.change(id, &[Role::Parent], &preview.preview_etag).await;
        assert_eq!(reason(&refused), "PREVIEW_STALE");
        assert_eq!(school.assignments().await.len(), 2);

        let preview = school.preview(administrator, id, &[Role::Parent]).await.unwrap();
        let changed = school
            .change(id, &[Role::Parent], &preview.preview_etag)
            .await
            .unwrap();
        let [listed] = &school.changes(administrator).await.unwrap()[..] else {
            panic!("one change");
        };
        assert_eq!(listed.id, changed.role_change_id);
        assert_eq!(listed.ended, preview.ending);
        assert_eq!(listed.author_id, administrator.member_id);
        assert!(school.assignments().await.is_empty() && school.duties().await.is_empty());

        let added = school.change(id, &[Role::Parent, Role::Staff], "").await.unwrap();
        assert_eq!(added.role_change_id, "");
        let stale = school.change(id, &[Role::Parent, Role::Staff], "0").await;
        assert_eq!(reason(&stale), "PREVIEW_STALE");
        // A pupil loses the enrollment and the relation to the mother.
        let pupil = &school.pupil.member_id;
        let preview = school
            .preview(administrator, pupil, &[Role::Staff])
            .await
            .unwrap();
        let ending = preview.ending.unwrap();
        assert_eq!(
            (ending.enrollment_ids.len(), ending.guardianship_ids.len()),
            (1, 1)
        );
        school.env.close().await;
    }
);

// A member who may not change the roles learns nothing of what rests on them.
// Covers: F2 refused
on_both!(preview_of_roles_is_refused_to_others, |database| async move {
    let school = School::open(database).await;
    let id = school.pupil.member_id.clone();
    let administrator = &school.administrator;
    for caller in [&school.teacher, &school.pupil, &school.mother] {
        let refused = school.preview(caller, &id, &[Role::Staff]).await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
        assert_eq!(reason(&school.changes(caller).await), "PERMISSION_DENIED");
    }
    let own = [Role::Administrator, Role::Teacher];
    let refused = school
        .preview(administrator, &administrator.member_id, &own)
        .await;
    assert_eq!(reason(&refused), "SECOND_PERSON_REQUIRED");
    let stranger = school.env.administrator(2).await.member_id;
    let unknown = school.preview(administrator, &stranger, &[Role::Staff]).await;
    assert_eq!(reason(&unknown), "NOT_FOUND");
    school.env.remove(administrator, &id, "").await.unwrap();
    let left = school.preview(administrator, &id, &[Role::Staff]).await;
    assert_eq!(reason(&left), "MEMBER_LEFT");
    let wrong = pb::PreviewRoleChangeRequest {
        org_id: "org_1".to_owned(),
        member_id: String::new(),
        roles: vec![77],
    };
    let mut api = school.env.roles();
    let wrong = api.preview_role_change(by(&administrator.token, wrong)).await;
    assert_eq!(fields(&wrong.unwrap_err()), ["member_id", "org_id", "roles"]);
    school.env.close().await;
});

// The ids of what ended are deleted when the change can no longer be undone, and the change after 30 days.
// Covers: R75 allowed
on_both!(changes_of_roles_are_deleted_by_age, |database| async move {
    let mut school = School::open(database).await;
    let id = school.teacher.member_id.clone();
    school.revoke(&id, &[Role::Staff]).await;
    for (days, ended, left) in [(6, 1, 1), (1, 0, 1), (22, 0, 1), (1, 0, 0)] {
        school.env.time.advance(TimeDelta::days(days));
        // The duty ends meanwhile.
        school.env.run_due_jobs().await;
        school.env.purge().await;
        let administrator = &school.administrator;
        school.administrator = school.env.sign_in_again("+79160000001", administrator).await;
        let changes = school.changes(&school.administrator).await.unwrap();
        let facts = changes.iter().flat_map(|change| &change.ended);
        let assignments: usize = facts.map(|ended| ended.assignment_ids.len()).sum();
        assert_eq!((assignments, changes.len()), (ended, left), "{days}");
    }
    school.env.close().await;
});
