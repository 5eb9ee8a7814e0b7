//! R51: a series keeps its wall-clock time. Compares with a simple oracle, changes of daylight saving time,
//! and test cases of other implementations.
use chrono::{Datelike as _, NaiveDate};
use proptest::prelude::*;

use super::*;

fn civil(text: &str) -> NaiveDateTime {
    text.parse().unwrap()
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn weekly(start: &str, zone: Tz, count: u32) -> Vec<Slot> {
    let weekly = Some(Weekly {
        interval: 1,
        end: End::Count(count),
    });
    Schedule {
        start: civil(start),
        zone,
        duration: TimeDelta::minutes(45),
        weekly,
    }
    .slots()
    .unwrap()
}

#[test]
fn series_keeps_wall_clock_time_when_clocks_change() {
    let slots = weekly("2026-10-19T09:00:00", chrono_tz::Europe::Berlin, 2);
    assert_eq!(slots[0].start, utc("2026-10-19T07:00:00Z"));
    assert_eq!(slots[1].start, utc("2026-10-26T08:00:00Z"));
    assert_eq!(slots[1].end - slots[1].start, TimeDelta::minutes(45));
}

#[test]
fn skipped_time_is_moved_by_the_gap_on_that_day_only() {
    let slots = weekly("2026-03-22T02:30:00", chrono_tz::Europe::Berlin, 3);
    let starts: Vec<_> = slots.iter().map(|s| s.start).collect();
    // On the 29th the clock jumps from 02:00 to 03:00: 02:30 is held at 03:30 local.
    assert_eq!(
        starts,
        [
            utc("2026-03-22T01:30:00Z"),
            utc("2026-03-29T01:30:00Z"),
            utc("2026-04-05T00:30:00Z")
        ]
    );
    // Samoa skipped the whole 30 December 2011.
    let start = to_utc(civil("2011-12-30T09:00:00"), chrono_tz::Pacific::Apia);
    assert_eq!(
        start.with_timezone(&chrono_tz::Pacific::Apia).naive_local(),
        civil("2011-12-31T09:00:00")
    );
}

#[test]
fn ambiguous_time_is_the_first_one() {
    let slots = weekly("2026-10-25T02:30:00", chrono_tz::Europe::Berlin, 1);
    assert_eq!(slots[0].start, utc("2026-10-25T00:30:00Z"));
}

#[test]
fn unplannable_recurrence_is_refused() {
    let slots = |weekly| {
        let start = civil("2026-09-01T08:00:00");
        Schedule {
            start,
            zone: chrono_tz::UTC,
            duration: TimeDelta::minutes(45),
            weekly: Some(weekly),
        }
        .slots()
    };
    let until = |text: &str| End::Until(text.parse().unwrap());
    assert_eq!(
        slots(Weekly {
            interval: 1,
            end: until("2026-08-31")
        }),
        Err(NotPlannable)
    );
    assert_eq!(
        slots(Weekly {
            interval: 1,
            end: until("2028-09-10")
        }),
        Err(NotPlannable)
    );
    assert_eq!(
        slots(Weekly {
            interval: 8,
            end: End::Count(400)
        }),
        Err(NotPlannable)
    );
    assert_eq!(
        slots(Weekly {
            interval: 1,
            end: until("2026-09-01")
        })
        .unwrap()
        .len(),
        1
    );
    assert_eq!(
        slots(Weekly {
            interval: 1,
            end: End::Count(100)
        })
        .unwrap()
        .len(),
        100
    );
}

#[test]
fn rule_text_follows_rfc_5545() {
    let until = End::Until(NaiveDate::from_ymd_opt(2027, 5, 31).unwrap());
    assert_eq!(
        Weekly {
            interval: 2,
            end: until
        }
        .text(),
        "FREQ=WEEKLY;INTERVAL=2;UNTIL=20270531"
    );
    assert_eq!(
        Weekly {
            interval: 1,
            end: End::Count(3)
        }
        .text(),
        "FREQ=WEEKLY;INTERVAL=1;COUNT=3"
    );
}

const ZONES: [Tz; 5] = [
    chrono_tz::Europe::Moscow,
    chrono_tz::Europe::Berlin,
    chrono_tz::America::New_York,
    chrono_tz::Australia::Lord_Howe,
    chrono_tz::Asia::Kamchatka,
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn occurrences_are_whole_intervals_after_the_start(
        day in 0_i64..700, minute in 0_i64..1440, interval in 1_u16..9, count in 1_u32..60, by_date in any::<bool>(),
        zone in prop::sample::select(ZONES.to_vec()),
    ) {
        let start = civil("2026-01-01T00:00:00") + TimeDelta::days(day) + TimeDelta::minutes(minute);
        let step = TimeDelta::weeks(i64::from(interval));
        // The oracle: add weeks to the civil time until the end, and convert each civil time with the time
        // zone.
        let last = start + step * i32::try_from(count - 1).unwrap();
        prop_assume!(last.date() - start.date() <= TimeDelta::days(MAX_DAYS));
        let end = if by_date { End::Until(last.date()) } else { End::Count(count) };
        let schedule = Schedule { start, zone, duration: TimeDelta::minutes(45), weekly: Some(Weekly { interval, end }) };
        let slots = schedule.slots().unwrap();
        prop_assert_eq!(slots.len(), count as usize);
        for (n, slot) in (0_i32..).zip(&slots) {
            let expected = start + step * n;
            prop_assert_eq!(slot.civil, expected);
            let local = slot.start.with_timezone(&zone);
            match zone.from_local_datetime(&expected) {
                chrono::LocalResult::Single(at) => prop_assert_eq!(local, at),
                chrono::LocalResult::Ambiguous(first, _) => prop_assert_eq!(local, first),
                // Lord Howe jumps by half an hour, the others by a whole one.
                chrono::LocalResult::None => {
                    let gap = if zone == chrono_tz::Australia::Lord_Howe { 30 } else { 60 };
                    prop_assert_eq!(local.naive_local(), expected + TimeDelta::minutes(gap));
                }
            }
            prop_assert_eq!(slot.civil.weekday(), start.weekday());
        }
        prop_assert!(slots.windows(2).all(|w| w[0].start < w[1].start));
    }
}

fn parse_time(text: &str) -> Option<NaiveDateTime> {
    let text = text.trim_end_matches('Z');
    let date = |t: &str| NaiveDate::parse_from_str(t, "%Y%m%d").ok();
    NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S")
        .ok()
        .or_else(|| date(text)?.and_hms_opt(0, 0, 0))
}

/// Expands a rule in the format of RFC 5545. UNTIL may be a date or a time without a zone.
fn expand_text(rule: &str, start: &str) -> Vec<NaiveDateTime> {
    // Civil times are expanded as UTC, in which the end must then be written too.
    let rule: Vec<String> = rule
        .split(';')
        .map(|p| match p.strip_prefix("UNTIL=") {
            Some(until) => format!("UNTIL={}Z", parse_time(until).unwrap().format("%Y%m%dT%H%M%S")),
            None => p.to_owned(),
        })
        .collect();
    let parsed: RRule<Unvalidated> = rule.join(";").parse().unwrap();
    expand(parse_time(start).unwrap(), parsed).unwrap()
}

#[test]
fn weekly_rules_expand_as_rfc_5545_says() {
    // The 1st of September 2026 is a Tuesday.
    for (rule, start, days) in [
        ("COUNT=3", "20260901T090000", &["0901", "0908", "0915"][..]),
        ("INTERVAL=2;COUNT=3", "20260901T090000", &["0901", "0915", "0929"]),
        ("INTERVAL=8;COUNT=3", "20260901T090000", &["0901", "1027", "1222"]),
        ("COUNT=2", "20261229T090000", &["1229", "0105"]),
        ("COUNT=3", "20280222T090000", &["0222", "0229", "0307"]),
        ("UNTIL=20260914", "20260901T090000", &["0901", "0908"]),
        (
            "UNTIL=20260915T090000",
            "20260901T090000",
            &["0901", "0908", "0915"],
        ),
        ("UNTIL=20260915T085959", "20260901T090000", &["0901", "0908"]),
        (
            "BYDAY=TU,FR;COUNT=4",
            "20260901T090000",
            &["0901", "0904", "0908", "0911"],
        ),
        // The week begins on Monday or on Sunday, which decides which Sunday is in the week after the next.
        (
            "INTERVAL=2;WKST=MO;BYDAY=TU,SU;COUNT=4",
            "20260901T090000",
            &["0901", "0906", "0915", "0920"],
        ),
        (
            "INTERVAL=2;WKST=SU;BYDAY=TU,SU;COUNT=4",
            "20260901T090000",
            &["0901", "0913", "0915", "0927"],
        ),
    ] {
        let expanded: Vec<_> = expand_text(&format!("FREQ=WEEKLY;{rule}"), start)
            .iter()
            .map(|time| time.format("%m%d").to_string())
            .collect();
        assert_eq!(expanded, days, "{rule}");
    }
}

// The weekly rules of another project's tests, if they are present. Rules with BYSETPOS are left out: rrule
// 0.14 counts the positions of the first week from the start instead of from Monday, which is wrong; no
// rule that is planned here has any.
#[test]
fn weekly_rules_expand_like_in_other_implementations() {
    let Some(file) = parta_testkit::shared_data("recurrence/cases.txt") else {
        return;
    };
    let text = std::fs::read_to_string(file).unwrap();
    let mut checked = 0;
    for block in text.split("\n\n") {
        let field = |name: &str| {
            block
                .lines()
                .find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))
        };
        let (Some(rule), Some(start), Some(expected)) =
            (field("RRULE"), field("DTSTART"), field("INSTANCES"))
        else {
            continue;
        };
        if !rule.contains("FREQ=WEEKLY") || rule.contains("BYSETPOS") || field("START-AT").is_some() {
            continue;
        }
        let expected: Vec<_> = expected
            .split(',')
            .map(|t| parse_time(t.trim()).unwrap())
            .collect();
        assert_eq!(expand_text(rule, start), expected, "{rule}");
        checked += 1;
    }
    assert!(checked >= 8, "only {checked} weekly cases were found");
}
