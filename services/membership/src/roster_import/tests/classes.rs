//! Classes whose label existed before, and classes that go away while an import runs (R31).
use parta_proto_membership::v1::{RosterImportState, RosterNoEffect as NoEffect};
use parta_service_testkit::while_waiting;
use parta_testkit::{on_both, on_postgres};

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

// The job knows the classes already and waits before it looks which of them are created.
// Covers: R31 allowed
on_postgres!(
    class_that_comes_while_a_batch_runs_loses_no_enrollment,
    "SQLite has one writer at a time, so that no event is applied while a batch runs",
    |database| async move {
        let url = database.url().to_owned();
        let school = School::open(database).await;
        let caller = &school.administrator;
        let mut source = Source::pupils(3, "9А").with("s4", "student", "Иван,Лисин-s4");
        source.classes.push("9Б");
        let source = source.source_line("9Б", "s4", "student");
        let checked = school.check(caller, &source).await;
        school.start(caller, &checked, &[]).await.unwrap();
        school.unit(7, "9Б", &checked.id).await;
        let locks = ["LOCK TABLE roster_member IN ACCESS EXCLUSIVE MODE".to_owned()];
        // Boxed, because both would not fit on the stack of a test.
        let batch = Box::pin(school.test_env.run_due_jobs());
        let arrival = Box::pin(school.unit(8, "9А", &checked.id));
        while_waiting(&url, &locks, batch, arrival).await;
        school.test_env.run_due_jobs().await;
        let done = school.get(&checked.id).await;
        assert_eq!(school.without_effect(&done).await, []);
        assert_eq!(done.state(), RosterImportState::Done);
        let counts = done.done.unwrap();
        assert_eq!((counts.units, counts.enrollments_begun), (2, 4));
        school.test_env.close().await;
    }
);
