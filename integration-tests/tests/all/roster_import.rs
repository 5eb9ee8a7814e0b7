//! Imports a roster of 600 people with the command line: check, import, repeated import, refused files.
use std::path::Path;

use parta_integration_tests::{School, Suite, on_both_topologies, reason, write_roster};
use serde_json::{Value, json};

/// [`School::import`] with the program of the tests.
pub(crate) async fn import(school: &School, folder: &Path, more: &[&str]) -> (i32, Value) {
    school
        .import(env!("CARGO_BIN_EXE_suite-process"), folder, more)
        .await
}

on_both_topologies!(
    // Covers: R31 allowed, R31 refused
    roster_of_600_people_is_imported_once,
    |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let folder = tempfile::tempdir().unwrap();
        write_roster(folder.path(), 600);

        // Invalid rows change nothing and are reported by file and line.
        let users = folder.path().join("users.csv");
        let clean = std::fs::read_to_string(&users).unwrap();
        std::fs::write(
            &users,
            format!("{clean}user-00001,,,,,,,,,,,,,,,,,,,,,\nbroken\n"),
        )
        .unwrap();
        let (code, refused) = import(&school, folder.path(), &["--yes"]).await;
        assert_eq!(code, 4, "{refused:#}");
        let problems = refused["problems"].as_array().unwrap();
        let at = |line: i64| {
            problems
                .iter()
                .any(|p| p["file"] == "users.csv" && p["line"] == line && p["fatal"] == true)
        };
        assert!(at(602) && at(603), "{problems:#?}");
        std::fs::write(&users, clean).unwrap();
        let before = school
            .administrator
            .client
            .must("MemberService/ListMembers", json!({}))
            .await;
        assert_eq!(before["members"].as_array().unwrap().len(), 1);

        // A dry run changes nothing.
        let (code, checked) = import(&school, folder.path(), &["--dry-run"]).await;
        assert_eq!(
            (code, &checked["roster_import"]["planned"]["members"]),
            (0, &json!(600)),
            "{checked:#}"
        );

        // A class that was created by hand with Latin letters is recognized as the same class.
        school.class("5a").await;
        let (code, done) = import(&school, folder.path(), &["--yes"]).await;
        assert_eq!(code, 0, "{done:#}");
        let counts = &done["roster_import"]["done"];
        for (what, count) in [
            ("units", 21),
            ("members", 600),
            ("enrollments_begun", 560),
            ("invitations", 600),
        ] {
            assert_eq!(counts[what], count, "{what}: {counts:#}");
        }
        assert_eq!(done["roster_import"]["state"], "ROSTER_IMPORT_STATE_DONE");
        let (code, again) = import(&school, folder.path(), &["--yes"]).await;
        assert_eq!((code, &again["first_changes"]), (0, &json!([])), "{again:#}");

        // Most people are missing in the new files, so the import needs a confirmation.
        for name in ["users.csv", "roles.csv", "enrollments.csv"] {
            let whole = std::fs::read_to_string(folder.path().join(name)).unwrap();
            let half: Vec<_> = whole.lines().take(301).collect();
            std::fs::write(folder.path().join(name), half.join("\n")).unwrap();
        }
        let (code, printed) = import(&school, folder.path(), &["--yes"]).await;
        assert_eq!(code, 1);
        assert!(
            printed["stderr"]
                .as_str()
                .unwrap()
                .contains("ROSTER_IMPORT_MASS_CHANGE"),
            "{printed:#}"
        );
        // The numbers that were confirmed are not those of the check.
        let (code, printed) = import(
            &school,
            folder.path(),
            &["--yes", "--confirm", "REMOVE_MEMBER=299"],
        )
        .await;
        assert_eq!(code, 1);
        assert!(
            printed["stderr"].as_str().unwrap().contains("PREVIEW_STALE"),
            "{printed:#}"
        );
        let (code, done) = import(
            &school,
            folder.path(),
            &["--yes", "--confirm", "REMOVE_MEMBER=300"],
        )
        .await;
        assert_eq!(
            (code, &done["roster_import"]["done"]["removals"]),
            (0, &json!(300)),
            "{done:#}"
        );

        // Other members cannot import.
        let teacher = school.teacher("Мария Кузнецова").await;
        let header = json!({"header": {"org_id": school.org_id}});
        let refused = teacher
            .client
            .refused("RosterImportService/CheckRosterImport", header.clone())
            .await;
        assert_eq!(refused.reason, "PERMISSION_DENIED");
        let other = suite.school("Школа № 2").await.administrator;
        let refused = other
            .client
            .refused("RosterImportService/CheckRosterImport", header)
            .await;
        assert_eq!(refused.reason, "NOT_FOUND");
    }
);

/// The moment at which the administrator creates the class that an import needs, relative to its start.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// After the check has planned the class.
    Before,
    /// While the import starts.
    With,
    /// Before org-registry knows of the started import, as far as it is slower than the next call.
    After,
}

/// Imports the class 5Б with one pupil, and creates it by hand at this moment. Returns whether the school
/// created it, or the import was first.
async fn import_and_create_class(school: &School, moment: Moment) -> bool {
    let client = &school.administrator.client;
    let import = school
        .checked_import_of_classes(
            client,
            "pupil-1,student,Иван,Лисин\n",
            "class-1,5Б\n",
            "place-1,class-1,pupil-1,student\n",
        )
        .await;
    let start = async || {
        let start = json!({"roster_import_id": import});
        client.must("RosterImportService/StartRosterImport", start).await;
    };
    let create = async || {
        let class = json!({"kind": "UNIT_KIND_CLASS", "label": "5Б"});
        client.call("UnitService/CreateUnit", class).await
    };
    let created = match moment {
        Moment::Before => {
            let created = create().await;
            start().await;
            created
        }
        Moment::With => tokio::join!(create(), start()).0,
        Moment::After => {
            start().await;
            create().await
        }
    };
    parta_testkit::eventually("the import is done", async || {
        let get = json!({"roster_import_id": import});
        let got = client.must("RosterImportService/GetRosterImport", get).await;
        (got["roster_import"]["state"] == "ROSTER_IMPORT_STATE_DONE").then_some(())
    })
    .await;
    if let Err(refused) = &created {
        assert_eq!(reason(refused), "UNIT_LABEL_TAKEN", "{moment:?}");
    }
    created.is_ok()
}

/// The ids of the units with this label.
async fn units_of(school: &School, label: &str) -> Vec<String> {
    let listed = school
        .administrator
        .client
        .must("UnitService/ListUnits", json!({}))
        .await;
    let units = listed["units"].as_array().into_iter().flatten();
    let found = units.filter(|unit| unit["label"] == label);
    found
        .filter_map(|unit| Some(unit["id"].as_str()?.to_owned()))
        .collect()
}

// Case 2 of issue 14: an import needs a class that the administrator creates by hand meanwhile. Both succeed
// with one class, and no service closes the organization.
on_both_topologies!(
    // Covers: R31 allowed, R5 allowed
    class_that_is_created_during_an_import_is_used_by_it,
    |suite: Suite| async move {
        let mut by_hand = 0;
        for moment in [Moment::Before, Moment::With, Moment::After].repeat(2) {
            let school = suite.school("Школа № 1").await;
            by_hand += usize::from(import_and_create_class(&school, moment).await);
            let classes = units_of(&school, "5Б").await;
            let [class] = classes.as_slice() else {
                panic!("{moment:?}: {classes:?}");
            };
            let client = &school.administrator.client;
            let list = json!({"unit_id": class});
            let pupils = client.must("MemberService/ListMembers", list).await;
            assert_eq!(
                pupils["members"].as_array().unwrap().len(),
                1,
                "{moment:?}: {pupils:#}"
            );
            // The organization is open: the next class gets its chats and a link.
            let next = school.class("6А").await;
            school.class_teacher("Мария Кузнецова", &next).await;
            let link = json!({"role": "ROLE_PUPIL", "unit_id": next});
            school.link(&school.administrator, link).await;
            for service in [
                "OrgRegistry",
                "Membership",
                "Invitation",
                "Chat",
                "CallScheduling",
            ] {
                let rpc = format!("{service}QuarantineService/ListQuarantines");
                let listed = suite.operator().must(&rpc, json!({})).await;
                assert_eq!(listed["quarantines"], json!([]), "{moment:?}: {rpc}");
            }
        }
        // The first moment of both rounds at least.
        assert!(by_hand >= 2, "{by_hand}");
    }
);
