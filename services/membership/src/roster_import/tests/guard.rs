//! Mass changes start only with the numbers of the preview (R31).
use parta_proto_membership::v1::{self as pb, RosterChangeKind as Kind, RosterImportState};
use parta_testkit::on_both;

use super::fixture::{School, Source, unit_id};
use crate::tests::test_env::{by, org, reason};

fn mass(kind: Kind, people: i32, of: i32) -> pb::RosterMassChange {
    pb::RosterMassChange {
        kind: kind.into(),
        people,
        of,
    }
}

// Covers: R31 refused
on_both!(
    mass_change_of_every_kind_is_confirmed_first,
    |database| async move {
        let school = School::open(database).await;
        let caller = &school.administrator;
        let source = Source::pupils(10, "1А");
        let first = school.check(caller, &source).await;
        assert_eq!(first.mass_changes, [], "new people are no mass change");
        school.start(caller, &first, &[]).await.unwrap();

        // A file of enrollments with nothing but its header.
        let empty = Source {
            places: Vec::new(),
            ..source.clone()
        };
        // Everybody moves to another class.
        let moved = Source {
            classes: vec!["2А"],
            ..Source::pupils(10, "2А")
        };
        let mut renamed = source.clone();
        for (key, _, name) in &mut renamed.users {
            *name = format!("Лисин,Иван-{key}");
        }
        let nobody = Source {
            classes: vec!["1А"],
            ..Source::default()
        };
        for (source, expected) in [
            (empty, vec![mass(Kind::EndEnrollment, 10, 10)]),
            (
                moved,
                vec![
                    mass(Kind::BeginEnrollment, 10, 10),
                    mass(Kind::EndEnrollment, 10, 10),
                ],
            ),
            (renamed, vec![mass(Kind::RenameMember, 10, 10)]),
            (nobody, vec![mass(Kind::RemoveMember, 10, 10)]),
        ] {
            let checked = school.check(caller, &source).await;
            assert_eq!(checked.mass_changes, expected);
            let refused = school.start(caller, &checked, &[]).await;
            assert_eq!(reason(&refused), "ROSTER_IMPORT_MASS_CHANGE", "{expected:?}");
            let mut other = expected.clone();
            other[0].people -= 1;
            let refused = school.start(caller, &checked, &other).await;
            assert_eq!(reason(&refused), "PREVIEW_STALE", "{expected:?}");
            let twice = [expected[0], expected[0]];
            let refused = school.start(caller, &checked, &twice).await;
            assert_eq!(reason(&refused), "FIELD_INVALID");
            assert_eq!(school.get(&checked.id).await.state(), RosterImportState::Checked);
            let unchanged = school.members().await.into_iter();
            let unchanged = unchanged.filter(|member| member.unit_ids == [unit_id(1).to_string()]);
            assert_eq!(unchanged.count(), 10);
        }
        let checked = school.check(caller, &Source::default()).await;
        let done = school
            .start(caller, &checked, &checked.mass_changes)
            .await
            .unwrap();
        assert_eq!(done.done.unwrap().removals, 10);
        // People who come back are a mass change too.
        let checked = school.check(caller, &source).await;
        assert_eq!(checked.mass_changes, [mass(Kind::ReadmitMember, 10, 10)]);
        school.test_env.close().await;
    }
);

// Covers: R31 refused
on_both!(
    numbers_that_are_no_longer_true_are_refused,
    |database| async move {
        let school = School::open(database).await;
        let caller = &school.administrator;
        let source = Source::pupils(10, "1А");
        school.import(&source).await;
        let empty = Source {
            places: Vec::new(),
            ..source.clone()
        };
        let checked = school.check(caller, &empty).await;
        assert_eq!(checked.mass_changes, [mass(Kind::EndEnrollment, 10, 10)]);
        let pupil = school.member("Лисин-s3").await;
        let request = pb::TransferPupilRequest {
            request_id: school.test_env.act(),
            org_id: org(1).to_string(),
            member_id: pupil.id,
            from_unit_id: unit_id(1).to_string(),
            to_unit_id: unit_id(2).to_string(),
        };
        let mut api = school.test_env.enrollments();
        api.transfer_pupil(by(&caller.token, request)).await.unwrap();
        let refused = school.start(caller, &checked, &checked.mass_changes).await;
        assert_eq!(reason(&refused), "PREVIEW_STALE");
        // The new preview has the new numbers: one more pupil is in another class.
        let checked = school.check(caller, &empty).await;
        let done = school
            .start(caller, &checked, &checked.mass_changes)
            .await
            .unwrap();
        assert_eq!(done.done.unwrap().enrollments_ended, 10);
        school.test_env.close().await;
    }
);
