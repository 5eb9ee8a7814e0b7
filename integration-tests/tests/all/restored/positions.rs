//! Positions of a log that are used again after a restore, and databases that are restored from copies of
//! different moments (case 3 of issue 14).
use std::{collections::BTreeSet, future::Future};

use parta_integration_tests::{Person, School, Suite};
use parta_testkit::eventually;
use sea_orm::{ConnectionTrait as _, Database, Statement};
use serde_json::{Value, json};
use tokio::sync::watch;
use tonic::Code;

use super::{PROGRAM, again, failover, forget_codes, participants};

/// Log lines of a source that was restored.
const NOTICED: [&str; 3] = [
    "replacing a projection by a snapshot",
    "feed interrupted",
    "the source has lost events",
];

async fn remove(school: &School, person: &Person) {
    let remove = json!({"member_id": person.member_id});
    let client = &school.administrator.client;
    client.must("MemberService/RemoveMember", remove).await;
}

/// The person has no membership, and no token of the organization is issued.
async fn has_no_access(suite: &Suite, school: &School, person: &Person) {
    let account = suite.sign_in(&person.account.phone, &person.account.full_name);
    let enter = json!({"org_id": school.org_id});
    let rpc = "AuthenticationService/IssueOrganizationToken";
    let refused = account.await.client.refused(rpc, enter).await;
    assert_eq!(
        refused.code,
        Code::NotFound,
        "{}: {refused:?}",
        person.account.full_name
    );
}

/// Returns the number of events that membership has published, of the only organization of a split suite.
async fn events_of_membership(suite: &Suite) -> i64 {
    let urls = suite.database_urls().await;
    let mut services = parta::SERVICES.iter();
    let membership = services.position(|service| service.name == "membership");
    let db = Database::connect(&urls[membership.unwrap()]).await.unwrap();
    let sql = "SELECT MAX(position) FROM event_head";
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql));
    let position = row.await.unwrap().unwrap().try_get_by_index(0).unwrap();
    db.close().await.unwrap();
    position
}

// Membership loses the endings of some teachers, and makes other events in their positions before chat
// connects again.
// Covers: R81 allowed
#[test]
fn positions_that_are_used_again_hide_no_loss() {
    parta_testkit::run(async {
        let suite = Suite::split(PROGRAM).await;
        suite.expect_complaints(&NOTICED).await;
        let mut school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let mut teachers = Vec::new();
        for n in 0..6 {
            let teacher = school.teacher(&format!("Мария Кузнецова {n}")).await;
            school
                .assign(&teacher, &class, "ASSIGNMENT_KIND_SUBJECT_TEACHER")
                .await;
            teachers.push(teacher);
        }
        let administrator = school.administrator.clone();
        let pupil = school.pupil(&administrator, "Пётр Сидоров", &class).await;
        let folder = tempfile::tempdir().unwrap();
        // Each removal publishes two events.
        for (lost, removed) in [(2, &teachers[..1]), (10, &teachers[1..])] {
            let backup = folder.path().join(lost.to_string()).display().to_string();
            suite.run(&["backup", &backup]).await;
            let before = events_of_membership(&suite).await;
            for teacher in removed {
                remove(&school, teacher).await;
            }
            assert_eq!(events_of_membership(&suite).await - before, lost);
            // Chat has read them.
            let client = again(&suite, &pupil, &school.org_id).await.client;
            let seen = participants(&client).await;
            assert!(
                removed.iter().all(|one| !seen.contains(&one.member_id)),
                "{seen:?}"
            );

            for service in parta::SERVICES {
                suite.kill(service.name).await;
            }
            let restore = ["restore", &backup, "--only", "membership", "--replace"];
            suite.run(&restore).await;
            forget_codes(&suite).await;
            for service in parta::SERVICES.iter().filter(|service| service.name != "chat") {
                suite.restart(service.name).await;
            }
            let administrator = again(&suite, &administrator, &school.org_id).await;
            school = school.with(&suite, administrator);
            let mut newcomers = Vec::new();
            for name in ["Анна Белова", "Ольга Зуева", "Инна Котова"] {
                newcomers.push(school.pupil(&school.administrator, name, &class).await);
            }
            assert!(events_of_membership(&suite).await > before + lost);
            suite.restart("chat").await;

            forget_codes(&suite).await;
            let client = again(&suite, &pupil, &school.org_id).await.client;
            let seen = participants(&client).await;
            assert!(
                newcomers.iter().all(|one| seen.contains(&one.member_id)),
                "{seen:?}"
            );
            assert!(
                removed.iter().all(|one| !seen.contains(&one.member_id)),
                "{seen:?}"
            );
            for teacher in removed {
                has_no_access(&suite, &school, teacher).await;
            }
            assert_eq!(failover::findings(&suite).await, [] as [Value; 0]);
            forget_codes(&suite).await;
        }
        suite.stop().await;
    });
}

/// Lets pupils join and teachers come and go while something happens.
async fn under_load<T>(school: &School, class: &str, happening: impl Future<Output = T>) -> T {
    let (done, finished) = watch::channel(false);
    let load = async {
        let mut teachers = 0;
        while !*finished.borrow() {
            teachers += 1;
            let teacher = school.teacher(&format!("Олег Волков {teachers}")).await;
            school
                .assign(&teacher, class, "ASSIGNMENT_KIND_SUBJECT_TEACHER")
                .await;
            school.pupil(&school.administrator, "Яна Ветрова", class).await;
            remove(school, &teacher).await;
        }
    };
    let happening = async {
        let outcome = happening.await;
        done.send_replace(true);
        outcome
    };
    tokio::join!(happening, load).0
}

/// Returns the ids of all members who have not left, as membership lists them.
async fn members(of: &School) -> BTreeSet<String> {
    let client = &of.administrator.client;
    let list = json!({"page_size": 200});
    let listed = client.must("MemberService/ListMembers", list).await;
    assert_eq!(listed["next_page_token"], "", "more than a page");
    let members = listed["members"].as_array().unwrap().iter();
    let present = members.filter(|one| one["state"] != "MEMBER_STATE_LEFT");
    present
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect()
}

/// The five databases are restored from two backups, of which one was made some time after the other.
async fn copies_of_different_moments(suite: Suite, processes: &[&'static str]) {
    suite.expect_complaints(&NOTICED).await;
    let mut school = suite.school("Школа № 1").await;
    let class = school.class("5А").await;
    let administrator = school.administrator.clone();
    let pupil = school.pupil(&administrator, "Пётр Сидоров", &class).await;
    let mut teachers = Vec::new();
    for name in ["Мария Кузнецова", "Вера Белова"] {
        let teacher = school.teacher(name).await;
        school
            .assign(&teacher, &class, "ASSIGNMENT_KIND_SUBJECT_TEACHER")
            .await;
        teachers.push(teacher);
    }
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name).display().to_string());
    remove(&school, &teachers[0]).await;
    under_load(&school, &class, suite.run(&["backup", &first])).await;
    remove(&school, &teachers[1]).await;
    under_load(&school, &class, suite.run(&["backup", &second])).await;

    let consumers = ["chat", "call-scheduling", "org-registry"];
    let sources = ["membership", "invitation"];
    // The consumers are ahead of their sources, and then behind them.
    for (of_consumers, of_sources) in [(&second, &first), (&first, &second)] {
        for process in processes {
            suite.kill(process).await;
        }
        for (services, backup) in [(&consumers[..], of_consumers), (&sources[..], of_sources)] {
            let only = services.iter().flat_map(|service| ["--only", *service]);
            let words: Vec<&str> = ["restore", backup, "--replace"].into_iter().chain(only).collect();
            suite.run(&words).await;
        }
        forget_codes(&suite).await;
        for process in processes {
            suite.restart(process).await;
        }
        let administrator = again(&suite, &administrator, &school.org_id).await;
        school = school.with(&suite, administrator);
        for teacher in &teachers {
            has_no_access(&suite, &school, teacher).await;
        }
        // The response carries a token of membership, so that chat has read what follows.
        let newcomer = school.pupil(&school.administrator, "Инна Котова", &class).await;
        let client = again(&suite, &pupil, &school.org_id).await.client;
        let seen = participants(&client).await;
        assert!(seen.contains(&newcomer.member_id), "{seen:?}");
        let members = members(&school).await;
        assert!(seen.is_subset(&members), "{seen:?} {members:?}");
        eventually("nothing is wrong", async || {
            failover::findings(&suite).await.is_empty().then_some(())
        })
        .await;
    }
    suite.stop().await;
}

/// Covers: R81 allowed
mod copies_of_different_moments_agree_again {
    use super::*;

    #[test]
    fn sqlite() {
        parta_testkit::run(async {
            let suite = Suite::process(PROGRAM).await;
            copies_of_different_moments(suite, &["membership"]).await;
        });
    }

    #[test]
    fn split() {
        parta_testkit::run(async {
            let suite = Suite::split(PROGRAM).await;
            let names = parta::SERVICES.map(|service| service.name);
            copies_of_different_moments(suite, &names).await;
        });
    }
}
