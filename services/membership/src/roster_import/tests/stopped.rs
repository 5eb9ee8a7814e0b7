//! An import acts by the right that its starter has when it acts (F18).
use parta_proto_membership::v1::{self as pb, Role, RosterChangeOutcome as Outcome, RosterImportState};
use parta_testkit::{TestDatabase, on_both};

use super::fixture::{School, Source, unit_id};
use crate::tests::test_env::{MemberSession, by, org, reason};

/// The ways in which the starter loses the right.
#[derive(Clone, Copy)]
enum Loss {
    Removal,
    Role,
    Suspension,
}

async fn lose(school: &School, starter: &MemberSession, loss: Loss) {
    match loss {
        Loss::Removal => school.remove(&starter.member_id).await,
        Loss::Role => school.change_roles(&starter.member_id, &[Role::Staff]).await,
        Loss::Suspension => {
            let request = pb::SuspendMemberRequest {
                request_id: school.test_env.act(),
                org_id: org(1).to_string(),
                member_id: starter.member_id.clone(),
                roles: Vec::new(),
                cause: "Служебная проверка".to_owned(),
            };
            let request = by(&school.administrator.token, request);
            school
                .test_env
                .suspensions()
                .suspend_member(request)
                .await
                .unwrap();
        }
    }
}

/// An administrator who starts an import and then loses the right.
async fn starter(school: &School) -> MemberSession {
    let joined = school
        .test_env
        .join("+79161111111", "Ольга Егорова", Role::Staff, |_| ());
    let starter = joined.await;
    let roles = [Role::Staff, Role::Administrator];
    school.change_roles(&starter.member_id, &roles).await;
    starter
}

/// An import waits for its class when its starter loses the right. The class comes, and nothing more is
/// applied; another administrator imports what is left.
async fn stops(database: TestDatabase, loss: Loss) {
    let school = School::open(database).await;
    let starter = starter(&school).await;
    let source = Source::pupils(120, "9А");
    let checked = school.check(&starter, &source).await;
    let running = school.start(&starter, &checked, &[]).await.unwrap();
    assert_eq!(running.state(), RosterImportState::Running);
    let before = running.done.unwrap();
    lose(&school, &starter, loss).await;
    school.unit(8, "9А", &checked.id).await;
    school.test_env.run_due_jobs().await;

    let stopped = school.get(&checked.id).await;
    assert_eq!(stopped.state(), RosterImportState::Stopped, "{stopped:?}");
    let done = stopped.done.unwrap();
    assert_eq!((done.members, done.enrollments_begun), (before.members, 0));
    let left = school.changes(&checked.id, Outcome::Planned).await;
    assert!(!left.is_empty());
    // Nothing begins it again.
    school.test_env.run_due_jobs().await;
    assert_eq!(school.get(&checked.id).await, stopped);

    let done = school.import(&source).await;
    assert_eq!(done.done.unwrap().enrollments_begun, 120);
    let enrolled = school.members().await.into_iter();
    let enrolled = enrolled.filter(|member| member.unit_ids == [unit_id(8).to_string()]);
    assert_eq!(enrolled.count(), 120);
    school.test_env.close().await;
}

on_both!(
    /// Covers: F18 refused, R31 refused
    import_stops_when_its_starter_is_removed,
    |database| stops(database, Loss::Removal)
);

on_both!(
    /// Covers: F18 refused
    import_stops_when_its_starter_loses_the_role,
    |database| stops(database, Loss::Role)
);

on_both!(
    /// Covers: F18 refused, R82 refused
    import_stops_when_its_starter_is_suspended,
    |database| stops(database, Loss::Suspension)
);

// The class never comes, and the starter is gone. The next check stops the import, so that another one starts
// at once.
// Covers: F18 refused, R31 allowed
on_both!(abandoned_import_blocks_no_other_one, |database| async move {
    let school = School::open(database).await;
    let starter = starter(&school).await;
    let abandoned = school.check(&starter, &Source::pupils(2, "9А")).await;
    school.start(&starter, &abandoned, &[]).await.unwrap();
    let caller = &school.administrator;
    let source = Source::pupils(2, "9Б");
    let blocked = school.check(caller, &source).await;
    let refused = school.start(caller, &blocked, &[]).await;
    assert_eq!(reason(&refused), "ROSTER_IMPORT_NOT_STARTABLE");
    assert_eq!(
        school.get(&abandoned.id).await.state(),
        RosterImportState::Running,
        "the starter may still import"
    );

    lose(&school, &starter, Loss::Role).await;
    let checked = school.check(caller, &source).await;
    let stopped = school.get(&abandoned.id).await;
    assert_eq!(stopped.state(), RosterImportState::Stopped);
    let running = school.start(caller, &checked, &[]).await.unwrap();
    assert_eq!(running.state(), RosterImportState::Running);
    // The class that the abandoned import had requested comes after all.
    school.unit(8, "9А", &abandoned.id).await;
    school.unit(9, "9Б", &checked.id).await;
    school.test_env.run_due_jobs().await;
    assert_eq!(school.get(&abandoned.id).await, stopped);
    let done = school.get(&checked.id).await;
    assert_eq!(done.state(), RosterImportState::Done);
    assert_eq!(done.done.unwrap().enrollments_begun, 2);
    school.test_env.close().await;
});

/// Opens the stream of an import, and returns the reason with which it ends after its caller has lost the
/// right.
async fn end_of_watch(database: TestDatabase, loss: Loss) -> String {
    let school = School::open(database).await;
    let starter = starter(&school).await;
    let checked = school.check(&starter, &Source::pupils(1, "9А")).await;
    let request = pb::WatchRosterImportRequest {
        org_id: org(1).to_string(),
        roster_import_id: checked.id,
    };
    let mut api = school.test_env.roster_imports();
    let opened = api.watch_roster_import(by(&starter.token, request)).await;
    let mut stream = opened.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    lose(&school, &starter, loss).await;
    let end = reason(&stream.message().await);
    school.test_env.close().await;
    end
}

// Covers: F18 refused
on_both!(
    open_stream_ends_with_the_role_of_its_caller,
    |database| async move {
        let another = database.another().await;
        let (role, all) = tokio::join!(
            end_of_watch(database, Loss::Role),
            end_of_watch(another, Loss::Suspension)
        );
        assert_eq!(
            (role.as_str(), all.as_str()),
            ("PERMISSION_DENIED", "MEMBER_SUSPENDED")
        );
    }
);
