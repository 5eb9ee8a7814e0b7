//! Classes whose label existed before, and classes that go away while an import runs (R31).
use parta_proto_membership::v1::{RosterImportState, RosterNoEffect as NoEffect};
use parta_testkit::on_both;

use super::fixture::{School, Source, unit_id};

// The first hundred changes are applied before one needs the class.
// Covers: R31 allowed
on_both!(
    class_with_an_archived_label_is_waited_for,
    |database| async move {
        let school = School::open(database).await;
        school.unit(7, "9А", "").await;
        school.archive(7).await;
        let caller = &school.administrator;
        let checked = school.check(caller, &Source::pupils(120, "9А")).await;
        assert_eq!(checked.planned.unwrap().units, 1);
        let running = school.start(caller, &checked, &[]).await.unwrap();
        assert_eq!(running.state(), RosterImportState::Running);
        assert_eq!(running.done.unwrap().enrollments_begun, 0);
        school.unit(8, "9А", &checked.id).await;
        school.test_env.run_due_jobs().await;
        let done = school.get(&checked.id).await;
        assert_eq!(done.state(), RosterImportState::Done);
        let counts = done.done.unwrap();
        assert_eq!((counts.units, counts.enrollments_begun), (1, 120));
        assert_eq!(done.no_effect_count, 0);
        let enrolled = school.members().await.into_iter();
        let enrolled = enrolled.filter(|member| member.unit_ids == [unit_id(8).to_string()]);
        assert_eq!(enrolled.count(), 120);
        school.test_env.close().await;
    }
);

// The class was made for the import, and archived before the import continued.
// Covers: R31 refused
on_both!(
    class_that_was_archived_again_leaves_rows_without_effect,
    |database| async move {
        let school = School::open(database).await;
        let caller = &school.administrator;
        let checked = school.check(caller, &Source::pupils(2, "9А")).await;
        school.start(caller, &checked, &[]).await.unwrap();
        school.unit(8, "9А", &checked.id).await;
        school.archive(8).await;
        school.test_env.run_due_jobs().await;
        let done = school.get(&checked.id).await;
        assert_eq!(done.state(), RosterImportState::Done, "{done:?}");
        assert_eq!(done.done.unwrap().enrollments_begun, 0);
        let expected = [2, 3].map(|line| ("enrollments.csv".to_owned(), line, NoEffect::ClassGone));
        assert_eq!(school.without_effect(&done).await, expected);
        school.test_env.close().await;
    }
);
