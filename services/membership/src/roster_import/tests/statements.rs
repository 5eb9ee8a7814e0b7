//! The statements of an import, most of which once came from single rows.
use parta_proto_membership::v1::RosterImportState;
use parta_testkit::{StatementCounter, on_postgres};

use super::fixture::{School, Source};

/// The largest number of statements of an import of 100 people.
const MOST: usize = 200;

// Covers: R31 allowed
on_postgres!(
    import_of_a_hundred_people_takes_few_statements,
    "SQLite has no round trips to count",
    |database| async move {
        let counter = StatementCounter::to(database.url()).await;
        let school = School::open(database.through(counter.url())).await;
        let mut source = Source::pupils(60, "1А");
        for n in 1..=38 {
            let key: &'static str = format!("p{n}").leak();
            source = source
                .with(key, "parent", &format!("Ольга,Лисина-{key}"))
                .relate(format!("s{n}").leak(), key);
        }
        for key in ["t1", "t2"] {
            source = source
                .with(key, "teacher", &format!("Анна,Белова-{key}"))
                .source_line("1А", key, "teacher");
        }
        let checked = school.check(&school.administrator, &source).await;
        let before = counter.count();
        let done = school.start(&school.administrator, &checked, &checked.mass_changes);
        let done = done.await.unwrap();
        let taken = counter.count() - before;
        assert_eq!(done.state(), RosterImportState::Done, "{done:?}");
        let counts = done.done.unwrap();
        assert_eq!((counts.members, counts.enrollments_begun), (100, 60));
        assert_eq!((counts.guardianships, counts.assignments_begun), (38, 2));
        assert!(taken <= MOST, "{taken} statements for 100 people");
        school.test_env.close().await;
    }
);
