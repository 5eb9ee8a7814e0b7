//! Roster imports at the edge: authorization before the files are read, and repetitions (R31).
use parta_proto_membership::v1::{self as pb, Role, RosterImportState, check_roster_import_request::Part};
use parta_testkit::on_both;
use tonic::Status;

use crate::tests::test_env::{MemberSession, TestEnv, by, org, reason};

fn header(request_id: &str) -> pb::CheckRosterImportRequest {
    pb::CheckRosterImportRequest {
        request_id: request_id.to_owned(),
        part: Some(Part::Header(pb::CheckRosterImportHeader {
            org_id: org(1).to_string(),
        })),
    }
}

fn chunk(file_name: &str, text: &str) -> pb::CheckRosterImportRequest {
    pb::CheckRosterImportRequest {
        request_id: String::new(),
        part: Some(Part::Chunk(pb::RosterFileChunk {
            file_name: file_name.to_owned(),
            data: text.as_bytes().to_vec().into(),
        })),
    }
}

/// A file set with one teacher. `cut` splits the file of users into two chunks.
fn set(request_id: &str, name: &str, cut: bool) -> Vec<pb::CheckRosterImportRequest> {
    let head = "sourcedId,role,givenName,familyName\n";
    let row = format!("t1,teacher,Мария,{name}\n");
    let mut messages = vec![
        header(request_id),
        chunk("orgs.csv", "sourcedId,name,type\no1,Школа,school\n"),
    ];
    if cut {
        messages.extend([chunk("users.csv", head), chunk("users.csv", &row)]);
    } else {
        messages.push(chunk("users.csv", &format!("{head}{row}")));
    }
    messages.push(chunk("classes.csv", "sourcedId,title\nc1,5А\n"));
    let places = "sourcedId,classSourcedId,userSourcedId,role\ne1,c1,t1,teacher\n";
    messages.push(chunk("enrollments.csv", places));
    messages
}

async fn check(
    test_env: &TestEnv,
    caller: &MemberSession,
    messages: Vec<pb::CheckRosterImportRequest>,
) -> Result<pb::RosterImport, Status> {
    let stream = futures::stream::iter(messages);
    let mut api = test_env.roster_imports();
    let answer = api.check_roster_import(by(&caller.token, stream)).await?;
    Ok(answer.into_inner().roster_import.unwrap())
}

/// Checks a set with one teacher, and returns the id of the import.
pub(crate) async fn check_small_import(test_env: &TestEnv, caller: &MemberSession) -> String {
    let messages = set(&test_env.act(), "Кузнецова", false);
    check(test_env, caller, messages).await.unwrap().id
}

// Covers: R31 allowed, R31 refused
on_both!(repeated_check_shows_the_current_import, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let id = test_env.act();
    let first = check(&test_env, &administrator, set(&id, "Кузнецова", false))
        .await
        .unwrap();
    assert_eq!(first.state(), RosterImportState::Checked);
    let planned = first.planned.unwrap();
    assert_eq!(
        (planned.units, planned.members, planned.assignments_begun),
        (1, 1, 1)
    );
    // The same files in different chunks are the same file set.
    let again = check(&test_env, &administrator, set(&id, "Кузнецова", true)).await;
    assert_eq!(again.unwrap(), first);
    let other = check(&test_env, &administrator, set(&id, "Иванова", false)).await;
    assert_eq!(reason(&other), "REQUEST_ID_REUSED");
    let start = pb::StartRosterImportRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        roster_import_id: first.id.clone(),
        etag: first.etag.clone(),
        confirmed_mass_changes: Vec::new(),
    };
    let mut api = test_env.roster_imports();
    for _ in 0..2 {
        let answer = api
            .start_roster_import(by(&administrator.token, start.clone()))
            .await;
        let started = answer.unwrap().into_inner().roster_import.unwrap();
        assert_eq!(started.state(), RosterImportState::Running);
    }
    let again = check(&test_env, &administrator, set(&id, "Кузнецова", false)).await;
    assert_eq!(again.unwrap().state(), RosterImportState::Running);
    test_env.close().await;
});

// Covers: R31 refused
on_both!(files_of_an_outsider_are_rejected_unread, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let teacher = test_env
        .join("+79161111111", "Олег Волков", Role::Teacher, |_| ())
        .await;
    let id = test_env.act();
    check(&test_env, &administrator, set(&id, "Кузнецова", false))
        .await
        .unwrap();
    // The unknown file would be FIELD_INVALID if it were read.
    let messages = vec![header(&id), chunk("passwords.csv", "")];
    let refused = check(&test_env, &teacher, messages).await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    let unknown = check(
        &test_env,
        &administrator,
        vec![header(&id), chunk("passwords.csv", "")],
    )
    .await;
    assert_eq!(reason(&unknown), "FIELD_INVALID");
    let headless = check(&test_env, &administrator, vec![chunk("users.csv", "")]).await;
    assert_eq!(reason(&headless), "FIELD_INVALID");
    let empty = check(&test_env, &administrator, Vec::new()).await;
    assert_eq!(reason(&empty), "FIELD_INVALID");
    test_env.close().await;
});
