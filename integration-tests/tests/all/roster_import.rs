//! Imports a roster of 600 people with the command line: check, import, repeated import, refused files.
use std::path::Path;

use parta_integration_tests::{School, Suite, on_both_topologies, write_roster};
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
