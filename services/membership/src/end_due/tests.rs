//! Rights that end by time (F1).
use async_trait::async_trait;
use chrono::{Days, TimeDelta};
use parta_jobs::{Job, JobError, JobHandler, JobRunner};
use parta_proto_membership::v1::{self as pb, AssignmentKind, Role};
use parta_service_testkit::fields;
use parta_testkit::{Time, on_both};
use sea_orm::ConnectionTrait as _;
use tokio_util::sync::CancellationToken;

use super::{EndDue, JOB_LIMITS, enqueue_overdue};
use crate::{
    endings::{JOB, list_overdue},
    tests::test_env::{MemberSession, TestEnv, by, org, reason, unit},
};

/// A verified class teacher who is assigned to the class for a time, and a pupil of the class.
async fn substitute(test_env: &TestEnv, administrator: &MemberSession, time: TimeDelta) -> MemberSession {
    let teacher = test_env
        .join("+79161111111", "Олег Волков", Role::Teacher, |_| ())
        .await;
    test_env
        .verify_teacher(administrator, &teacher.member_id)
        .await
        .unwrap();
    test_env.join_pupil("+79162222222", "Ева Орлова", 1).await;
    let end = test_env.env.now() + time;
    let request = pb::CreateAssignmentRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        member_id: teacher.member_id.clone(),
        unit_id: unit(1).to_string(),
        kind: AssignmentKind::ClassTeacher.into(),
        expire_time: Some(prost_types::Timestamp {
            seconds: end.timestamp(),
            nanos: 0,
        }),
        until_date: String::new(),
    };
    let made = test_env
        .assignments()
        .create_assignment(by(&administrator.token, request))
        .await
        .unwrap()
        .into_inner()
        .assignment
        .unwrap();
    assert!(made.substitution);
    teacher
}

// The job ends an assignment at its time. If it does not run, this service refuses to decide about the
// organization after 30 seconds, and its heartbeats name the organization after five, so that the others
// refuse, too. It names no other organization.
// Covers: R25 allowed, R25 refused, F1 allowed, F1 refused
on_both!(right_ends_by_an_event_or_is_refused, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    test_env.administrator(2).await;
    let teacher = substitute(&test_env, &administrator, TimeDelta::minutes(1)).await;
    test_env.time.advance(TimeDelta::seconds(64));
    assert_eq!(list_overdue(test_env.db.clone()).await.unwrap(), []);
    assert_eq!(test_env.list(&teacher).await.unwrap().len(), 3);

    test_env.time.advance(TimeDelta::seconds(27));
    let overdue = list_overdue(test_env.db.clone()).await.unwrap();
    let late = std::time::Duration::from_secs(31);
    assert_eq!(overdue.len(), 1);
    assert_eq!((overdue[0].0, overdue[0].1.as_secs()), (org(1), late.as_secs()));
    for member in [&teacher, &administrator] {
        assert_eq!(reason(&test_env.list(member).await), "PROJECTION_STALE");
    }

    test_env.run_due_jobs().await;
    assert_eq!(list_overdue(test_env.db.clone()).await.unwrap(), []);
    let staff = ["Анна Петрова", "Олег Волков"];
    assert_eq!(test_env.list(&teacher).await.unwrap(), staff);
    assert_eq!(test_env.list(&administrator).await.unwrap().len(), 3);
    test_env.close().await;
});

/// Ends what is due after the clock was set back.
struct AfterClockWasSetBack(EndDue, Time, TimeDelta);

#[async_trait]
impl JobHandler for AfterClockWasSetBack {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        self.1.advance(-self.2);
        self.0.run(job).await
    }
}

// A job that was claimed while the clock was fast finds nothing due after the clock was set back. When the
// time comes, the organization is not closed: it gets another job.
// Covers: F1 allowed
on_both!(ending_without_a_job_gets_another_one, |database| async move {
    parta_testkit::logs().allow("overdue ending had no job");
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let teacher = substitute(&test_env, &administrator, TimeDelta::minutes(1)).await;
    let hour = TimeDelta::hours(1);
    test_env.time.advance(hour);
    let ending = EndDue(std::sync::Arc::new(test_env.ports.context()));
    let handler = AfterClockWasSetBack(ending, test_env.time.clone(), hour);
    let runner = JobRunner::new(test_env.db.clone()).handle(JOB, JOB_LIMITS, std::sync::Arc::new(handler));
    runner.run_due(&CancellationToken::new()).await.unwrap();

    test_env.time.advance(TimeDelta::seconds(91));
    test_env.run_due_jobs().await;
    assert_eq!(reason(&test_env.list(&teacher).await), "PROJECTION_STALE");
    // Each replica runs the task.
    for _ in 0..2 {
        enqueue_overdue(&test_env.db).await.unwrap();
    }
    test_env.run_due_jobs().await;
    assert_eq!(list_overdue(test_env.db.clone()).await.unwrap(), []);
    assert_eq!(test_env.list(&teacher).await.unwrap().len(), 2);
    test_env.close().await;
});

// A job that has failed for good does not close the organization for good.
// Covers: F1 allowed
on_both!(ending_whose_job_failed_gets_another_one, |database| async move {
    parta_testkit::logs().allow("overdue ending had no job");
    parta_testkit::logs().allow("job failed permanently");
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let teacher = substitute(&test_env, &administrator, TimeDelta::minutes(1)).await;
    test_env.time.advance(TimeDelta::minutes(2));
    // Also the job that `enqueue_overdue` enqueues fails once.
    for _ in 0..2 {
        enqueue_overdue(&test_env.db).await.unwrap();
        let job = format!("kind = '{JOB}'");
        let sql = format!("UPDATE job SET attempts = 50 WHERE {job} AND attempts = 0");
        test_env.db.writer().execute_unprepared(&sql).await.unwrap();
        test_env.run_due_jobs().await;
    }
    assert_eq!(reason(&test_env.list(&teacher).await), "PROJECTION_STALE");
    enqueue_overdue(&test_env.db).await.unwrap();
    test_env.run_due_jobs().await;
    assert_eq!(list_overdue(test_env.db.clone()).await.unwrap(), []);
    assert_eq!(test_env.list(&teacher).await.unwrap().len(), 2);
    test_env.close().await;
});

// An ending of a kind that this build does not know ends nothing, so that its organization is refused until a
// build that knows the kind runs the job. Another organization is not affected.
// Covers: F1 refused
on_both!(
    ending_of_an_unknown_kind_closes_its_organization,
    |database| async move {
        parta_testkit::logs().allow("a stored value is not known to this build");
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        let other = test_env.administrator(2).await;
        let teacher = substitute(&test_env, &administrator, TimeDelta::minutes(1)).await;
        let change = async |sign: char| {
            let sql = format!("UPDATE due_ending SET kind = kind {sign} 16384");
            let changed = test_env.db.writer().execute_unprepared(&sql).await;
            assert_eq!(changed.unwrap().rows_affected(), 1);
        };
        change('+').await;
        test_env.time.advance(TimeDelta::seconds(91));
        test_env.run_due_jobs().await;
        let failure = Some("STORED_VALUE_UNKNOWN".to_owned());
        assert!(test_env.jobs().await.iter().any(|(_, why)| *why == failure));
        for member in [&teacher, &administrator] {
            assert_eq!(reason(&test_env.list(member).await), "PROJECTION_STALE");
        }
        let request = pb::ListMembersRequest {
            org_id: org(2).to_string(),
            ..Default::default()
        };
        let others = test_env.members().list_members(by(&other.token, request)).await;
        assert_eq!(others.unwrap().into_inner().members.len(), 1);

        change('-').await;
        test_env
            .time
            .advance(TimeDelta::from_std(JOB_LIMITS.max_retry_delay).unwrap());
        test_env.run_due_jobs().await;
        assert_eq!(test_env.list(&teacher).await.unwrap().len(), 2);
        test_env.close().await;
    }
);

// An assignment that was ended by hand leaves nothing to end: the organization does not become overdue.
// Covers: F1 allowed
on_both!(ending_by_hand_deletes_the_time, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let teacher = substitute(&test_env, &administrator, TimeDelta::minutes(1)).await;
    let removed = test_env.remove(&administrator, &teacher.member_id, "");
    removed.await.unwrap();
    test_env.time.advance(TimeDelta::minutes(5));
    assert_eq!(list_overdue(test_env.db.clone()).await.unwrap(), []);
    assert_eq!(test_env.list(&administrator).await.unwrap().len(), 2);
    test_env.run_due_jobs().await;
    test_env.close().await;
});

// An assignment by days lasts through its last day in the time zone of the organization.
// Covers: F1 allowed, F1 refused, R25 allowed, R25 refused
on_both!(
    assignment_by_days_ends_after_its_last_day,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        let teacher = test_env
            .class_teacher(&administrator, "+79161111111", unit(2))
            .await;
        let today = test_env
            .env
            .now()
            .with_timezone(&chrono_tz::Europe::Moscow)
            .date_naive();
        let request = |until: &str| pb::CreateAssignmentRequest {
            request_id: test_env.act(),
            org_id: org(1).to_string(),
            member_id: teacher.member_id.clone(),
            unit_id: unit(1).to_string(),
            kind: AssignmentKind::SubjectTeacher.into(),
            expire_time: None,
            until_date: until.to_owned(),
        };
        let create = async |request| {
            let mut api = test_env.assignments();
            let created = api.create_assignment(by(&administrator.token, request)).await?;
            Ok::<_, tonic::Status>(created.into_inner().assignment.unwrap())
        };
        let yesterday = (today - Days::new(1)).to_string();
        for wrong in [yesterday.as_str(), "2027-5-1"] {
            assert_eq!(fields(&create(request(wrong)).await.unwrap_err()), ["until_date"]);
        }
        let both = pb::CreateAssignmentRequest {
            expire_time: Some(prost_types::Timestamp::default()),
            ..request(&today.to_string())
        };
        assert_eq!(fields(&create(both).await.unwrap_err()), ["until_date"]);

        let last = today + Days::new(1);
        let created = create(request(&last.to_string())).await.unwrap();
        assert_eq!(created.until_date, last.to_string());
        assert!(created.substitution);
        // Midnight in Moscow is three hours earlier than in UTC.
        let midnight = (last + Days::new(1)).and_time(chrono::NaiveTime::MIN).and_utc() - TimeDelta::hours(3);
        assert_eq!(created.expire_time.unwrap().seconds, midnight.timestamp());
        let list = async || {
            let administrator = test_env.sign_in_again("+79160000001", &administrator).await;
            let request = pb::ListAssignmentsRequest {
                org_id: org(1).to_string(),
                unit_id: unit(1).to_string(),
                ..Default::default()
            };
            let mut api = test_env.assignments();
            let listed = api.list_assignments(by(&administrator.token, request)).await;
            listed.unwrap().into_inner().assignments.len()
        };
        test_env
            .time
            .advance(midnight - test_env.env.now() - TimeDelta::minutes(2));
        test_env.run_due_jobs().await;
        assert_eq!(list().await, 1);
        test_env.time.advance(TimeDelta::minutes(2));
        test_env.run_due_jobs().await;
        assert_eq!(list().await, 0);
        assert_eq!(list_overdue(test_env.db.clone()).await.unwrap(), []);
        test_env.close().await;
    }
);
