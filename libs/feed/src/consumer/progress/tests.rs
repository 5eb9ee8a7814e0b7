//! The freshness of a projection while events arrive and workers apply them. The clock of the runtime is
//! paused.
use std::collections::HashMap;

use parta_ids::TypedId as _;

use super::*;

fn org(n: u128) -> OrgId {
    OrgId::from_uuid(Uuid::from_u128(n))
}

fn head(position: i64) -> LogHead {
    LogHead {
        epoch: Uuid::from_u128(1),
        position,
        event_id: Uuid::from_u128(u128::try_from(position).unwrap_or_default()),
    }
}

fn cursor(n: u128, position: i64) -> Cursor {
    Cursor::at(org(n), head(position))
}

/// A progress whose source has these heads and whose cursors are stored.
fn begun(heads: &[(u128, i64)], cursors: &[Cursor]) -> Progress {
    let progress = Progress::default();
    progress.load(cursors.to_vec());
    let heads: HashMap<_, _> = heads
        .iter()
        .map(|(n, position)| (org(*n), head(*position)))
        .collect();
    progress.announced_all(heads);
    progress
}

/// Takes the only organization that is next.
fn next(progress: &Progress, lane: Lane) -> Option<OrgId> {
    let (taken, _) = progress.next(lane);
    assert!(taken.len() <= 1, "{taken:?}");
    taken.first().copied()
}

/// Takes the next organization as a worker does, and finishes at a position.
fn apply_next(progress: &Progress, position: i64) {
    let Some(taken) = next(progress, Lane::Small) else {
        panic!("no organization has work");
    };
    let at = Cursor::at(taken, head(position));
    progress.finished(taken, Some(at), Outcome::Applied);
}

#[test]
fn readiness_waits_for_the_backlog_of_the_start_only() {
    let run = async {
        let progress = begun(&[(1, 5)], &[cursor(1, 3)]);
        assert!(!progress.is_complete());
        assert_eq!(progress.age(org(1)), Age::Unknown);
        // An event that arrives meanwhile keeps the organization behind.
        progress.announced(vec![(org(1), head(6)), (org(2), head(1))], true);
        apply_next(&progress, 5);
        assert!(progress.is_complete());
    };
    parta_testkit::run_paused(run);
}

#[test]
fn failing_organization_does_not_delay_readiness() {
    parta_testkit::run_paused(async {
        let progress = begun(&[(1, 5)], &[]);
        let taken = next(&progress, Lane::Small);
        assert_eq!(taken, Some(org(1)));
        progress.finished(org(1), None, Outcome::Failed(Duration::from_secs(1)));
        assert!(progress.is_complete());
        assert_eq!(progress.age(org(1)), Age::Unknown);
        progress.finished(org(1), None, Outcome::Quarantined(Duration::from_secs(2)));
        assert_eq!(progress.age(org(1)), Age::Quarantined);
    });
}

#[test]
fn busy_organization_is_as_fresh_as_a_passed_heartbeat() {
    parta_testkit::run_paused(async {
        let progress = begun(&[(1, 1)], &[cursor(1, 1)]);
        // For two minutes, each second brings an event before the last one is applied.
        for position in 2..=120 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            progress.announced(vec![(org(1), head(position))], true);
            apply_next(&progress, position - 1);
            let Age::Known(age) = progress.age(org(1)) else {
                panic!("{:?}", progress.age(org(1)));
            };
            assert!(age <= Duration::from_secs(3), "{age:?} at {position}");
        }
        // Without progress it ages, although heartbeats arrive.
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            progress.announced(Vec::new(), true);
        }
        assert!(matches!(progress.age(org(1)), Age::Known(age) if age > Duration::from_secs(30)));
    });
}

#[test]
fn reading_in_flight_lowers_no_announced_head() {
    parta_testkit::run_paused(async {
        let progress = begun(&[(1, 10)], &[cursor(1, 10)]);
        let began = Instant::now();
        progress.announced(vec![(org(1), head(11))], false);
        progress.read_to_end(cursor(1, 10), began);
        let taken = next(&progress, Lane::Small);
        assert_eq!(taken, Some(org(1)));
        progress.finished(org(1), Some(cursor(1, 10)), Outcome::Applied);
        assert_eq!(
            next(&progress, Lane::Small),
            Some(org(1)),
            "event 11 is not applied yet"
        );
    });
}

// A replica of the source announces an event that a failover has lost: the log ends before it.
#[test]
fn head_that_the_log_does_not_reach_is_read_again_later() {
    parta_testkit::run_paused(async {
        let progress = begun(&[(1, 11)], &[cursor(1, 10)]);
        let at_end = || {
            progress.read_to_end(cursor(1, 10), Instant::now());
            progress.finished(org(1), Some(cursor(1, 10)), Outcome::Applied);
        };
        for _ in 0..2 {
            assert_eq!(next(&progress, Lane::Small), Some(org(1)));
            at_end();
            assert_eq!(next(&progress, Lane::Small), None, "the worker would never rest");
            tokio::time::sleep(super::AHEAD).await;
        }
        // An event that is announced during a reading is read at once.
        assert_eq!(next(&progress, Lane::Small), Some(org(1)));
        progress.announced(vec![(org(1), head(12))], false);
        at_end();
        assert_eq!(next(&progress, Lane::Small), Some(org(1)));
    });
}

#[test]
fn token_is_void_by_a_later_reading_only() {
    parta_testkit::run_paused(async {
        let progress = begun(&[(1, 10)], &[cursor(1, 10)]);
        let (early, epoch) = (Instant::now(), Uuid::from_u128(1));
        progress.read_to_end(cursor(1, 10), early);
        assert!(progress.is_void(org(1), epoch, 11, early));
        assert!(!progress.is_void(org(1), epoch, 10, early));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!progress.is_void(org(1), epoch, 11, Instant::now()));
    });
}

#[test]
fn restarted_workers_get_back_what_was_held() {
    parta_testkit::run_paused(async {
        let progress = begun(&[(1, 1)], &[]);
        assert_eq!(next(&progress, Lane::Small), Some(org(1)));
        assert_eq!(next(&progress, Lane::Small), None);
        progress.restart();
        assert_eq!(next(&progress, Lane::Small), Some(org(1)));
    });
}

#[test]
fn importer_does_not_go_before_others() {
    parta_testkit::run_paused(async {
        let progress = begun(&[(1, 1_000), (2, 1)], &[]);
        let first = next(&progress, Lane::Large);
        assert_eq!(first, Some(org(1)));
        // New events of the importer arrive while a worker has it.
        progress.announced(vec![(org(1), head(1_500))], false);
        progress.finished(org(1), Some(cursor(1, 256)), Outcome::Applied);
        assert_eq!(next(&progress, Lane::Small), Some(org(2)));
    });
}

// The source was restored: it stands before the cursor, and the snapshot fails. The lost history is not
// served.
#[test]
fn failing_cursor_of_a_lost_history_makes_nothing_fresh() {
    parta_testkit::run_paused(async {
        let progress = begun(&[(1, 10)], &[cursor(1, 10)]);
        progress.announced(vec![(org(1), head(3))], true);
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            progress.announced(Vec::new(), true);
            if next(&progress, Lane::Small).is_some() {
                let failed = Outcome::Failed(Duration::from_millis(500));
                progress.finished(org(1), Some(cursor(1, 10)), failed);
            }
        }
        assert!(matches!(progress.age(org(1)), Age::Known(age) if age > Duration::from_secs(30)));
    });
}

// F1: the owner of a fact has not published its ending in time. The projection counts as old from the
// time when the ending was due, for that organization only, until a heartbeat no longer names it.
#[test]
fn overdue_ending_makes_one_organization_old() {
    let run = async {
        let progress = begun(&[(1, 1), (2, 1)], &[cursor(1, 1), cursor(2, 1)]);
        tokio::time::advance(Duration::from_secs(100)).await;
        progress.overdue(HashMap::from([(
            org(1),
            Instant::now() - Duration::from_secs(40),
        )]));
        progress.announced(Vec::new(), true);
        assert_eq!(progress.age(org(1)), Age::Known(Duration::from_secs(40)));
        assert_eq!(progress.age(org(2)), Age::Known(Duration::ZERO));
        assert_eq!(progress.overdue_endings(), [(org(1), Duration::from_secs(40))]);
        progress.overdue(HashMap::new());
        progress.announced(Vec::new(), true);
        assert_eq!(progress.overdue_endings(), []);
        assert_eq!(progress.age(org(1)), Age::Known(Duration::ZERO));
    };
    parta_testkit::run_paused(run);
}

#[test]
fn rejected_organization_is_tried_after_all_others() {
    let run = async {
        let progress = begun(&[(1, 1)], &[]);
        let taken = next(&progress, Lane::Small);
        assert_eq!(taken, Some(org(1)));
        progress.finished(org(1), None, Outcome::Rejected(Duration::from_secs(60)));
        progress.announced(vec![(org(1), head(2))], true);
        let (none, due) = progress.next(Lane::Small);
        assert!(none.is_empty(), "a new event does not make it due earlier");
        tokio::time::sleep_until(due.unwrap()).await;
        progress.announced(vec![(org(2), head(500)), (org(3), head(1))], true);
        let order = [(); 3].map(|()| next(&progress, Lane::Small));
        assert_eq!(order, [Some(org(3)), Some(org(2)), Some(org(1))]);
    };
    parta_testkit::run_paused(run);
}

// A start with many organizations: what one of them costs does not grow with their number.
#[test]
fn backlog_of_many_organizations_is_settled_quickly() {
    parta_testkit::run_paused(async {
        const COUNT: u128 = 40_000;
        let heads: Vec<_> = (1..=COUNT).map(|n| (n, 1)).collect();
        let progress = begun(&heads, &[]);
        let began = std::time::Instant::now();
        let mut applied = 0;
        while applied < COUNT {
            assert!(!progress.is_complete());
            let (taken, _) = progress.next(Lane::Small);
            for org_id in taken {
                applied += 1;
                progress.finished(org_id, Some(Cursor::at(org_id, head(1))), Outcome::Applied);
            }
        }
        assert!(progress.is_complete());
        // A second on a fast machine. A look at the whole backlog each time takes minutes.
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    });
}

#[test]
fn organizations_with_few_events_are_taken_together() {
    parta_testkit::run_paused(async {
        let heads: Vec<_> = (1..=100).map(|n| (n, if n == 100 { 500 } else { 1 })).collect();
        let progress = begun(&heads, &[]);
        let mut sizes = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let (taken, _) = progress.next(Lane::Small);
            if taken.is_empty() {
                break;
            }
            sizes.push(taken.len());
            assert!(
                taken.len() == 1 || !taken.contains(&org(100)),
                "one that is far behind"
            );
            seen.extend(taken);
        }
        assert_eq!(seen.len(), 100);
        assert!(
            sizes.iter().all(|size| *size <= 32) && sizes.len() < 30,
            "{sizes:?}"
        );
        assert_eq!(sizes.first(), Some(&25), "four workers share them");
        // Those that are given back are taken one by one, and together again after that.
        progress.put_back([org(1), org(2)]);
        let mut given_back: Vec<_> = (0..2).filter_map(|_| next(&progress, Lane::Small)).collect();
        given_back.sort();
        assert_eq!(given_back, [org(1), org(2)]);
    });
}

// An organization whose snapshot fails while others are read remains behind all others.
#[test]
fn busy_workers_do_not_advance_a_rejected_organization() {
    parta_testkit::run_paused(async {
        let progress = begun(&[(1, 1)], &[]);
        assert_eq!(next(&progress, Lane::Small), Some(org(1)));
        progress.finished(org(1), None, Outcome::Rejected(Duration::from_secs(60)));
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(next(&progress, Lane::Small), Some(org(1)));
        // Other snapshots are being read.
        progress.finished(org(1), None, Outcome::Busy(Duration::from_secs(1)));
        progress.announced(vec![(org(1), head(2))], true);
        assert_eq!(
            next(&progress, Lane::Small),
            None,
            "a new event does not make it due earlier"
        );
        tokio::time::sleep(Duration::from_secs(2)).await;
        progress.announced(vec![(org(2), head(500))], true);
        assert_eq!(next(&progress, Lane::Small), Some(org(2)));
        assert_eq!(next(&progress, Lane::Small), Some(org(1)));
    });
}

/// Two epochs, of which either one is the present one: a restored source is in an earlier epoch than its
/// consumers know, and a new epoch may begin by a slow clock.
fn epochs() -> [(Uuid, Uuid); 2] {
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    [(one, two), (two, one)]
}

fn cursor_in(epoch: Uuid, position: i64) -> Cursor {
    Cursor {
        epoch,
        ..cursor(1, position)
    }
}

/// A progress of which the source is in another epoch than the stored cursor.
fn begun_in(former: Uuid, present: Uuid, position: i64) -> Progress {
    let progress = Progress::default();
    progress.load(vec![cursor_in(former, 10)]);
    let at = LogHead {
        epoch: present,
        ..head(position)
    };
    progress.announced_all(HashMap::from([(org(1), at)]));
    progress
}

/// Takes the only organization that is next, after the wait of one whose cursor is ahead of its head.
async fn later(progress: &Progress) -> Option<OrgId> {
    tokio::time::sleep(super::AHEAD).await;
    next(progress, Lane::Small)
}

#[test]
fn reading_in_a_former_epoch_lowers_no_announced_head() {
    parta_testkit::run_paused(async {
        for (former, present) in epochs() {
            let progress = begun_in(former, present, 5);
            assert_eq!(later(&progress).await, Some(org(1)));
            progress.read_to_end(cursor_in(former, 10), Instant::now());
            let at = Some(cursor_in(former, 10));
            progress.finished(org(1), at, Outcome::Applied);
            assert_eq!(later(&progress).await, Some(org(1)), "{former} {present}");
        }
    });
}

#[test]
fn cursor_of_a_former_epoch_makes_nothing_fresh() {
    parta_testkit::run_paused(async {
        for (former, present) in epochs() {
            let progress = begun_in(former, present, 5);
            progress.announced(Vec::new(), true);
            assert_eq!(later(&progress).await, Some(org(1)));
            progress.finished(org(1), Some(cursor_in(former, 10)), Outcome::Applied);
            assert_eq!(progress.age(org(1)), Age::Unknown, "{former} {present}");
            assert_eq!(later(&progress).await, Some(org(1)));
            progress.finished(org(1), Some(cursor_in(present, 5)), Outcome::Applied);
            assert!(matches!(progress.age(org(1)), Age::Known(_)));
        }
    });
}

#[test]
fn token_of_another_epoch_is_void() {
    parta_testkit::run_paused(async {
        for (former, present) in epochs() {
            let progress = begun_in(former, present, 5);
            let early = Instant::now();
            assert!(!progress.is_void(org(1), former, 1, early), "nothing was read");
            progress.read_in_epoch(cursor_in(present, 5), early);
            assert!(progress.is_void(org(1), former, 1, early));
            assert!(
                !progress.is_void(org(1), present, 9, early),
                "the end was not read"
            );
            progress.read_to_end(cursor_in(present, 5), early);
            assert!(progress.is_void(org(1), present, 9, early));
            assert!(!progress.is_void(org(1), present, 5, early));
        }
    });
}
