//! The metrics of the consumers.

use parta_testkit::{Metrics, on_sqlite};

use crate::{
    school::{Roster, add, after_steps, caught_up, consumer, migrations, org, start},
    support::Store,
};

// The operator sees how many organizations are behind and quarantined, the age of the oldest data, and that
// no further organization is quarantined. A healthy consumer shows zeros.
on_sqlite!(
    gauges_show_lag_quarantine_and_breaker,
    "the numbers come from memory",
    |database| async move {
        for expected in [
            "organization quarantined",
            "replacing a projection by a snapshot",
            "none is quarantined",
        ] {
            parta_testkit::logs().allow(expected);
        }
        let metrics = Metrics::record();
        let store = Store::open(&database, migrations()).await;
        let (db, roster) = (&store.db, Roster::default());
        let consumer = consumer(db, db, &roster);
        parta_feed::observe(db);
        let value = |name: &str| {
            let attributes = "consumer=test.roster,service=test,source=org-registry";
            metrics.value(&format!("{name} {attributes}"))
        };
        assert_eq!(value("parta.feed.age"), None, "no heartbeat has arrived");
        add(db, org(1), "a", "good").await;
        let running = start(&consumer);
        consumer.freshness().completed().await;
        caught_up(db, &consumer, &[1]).await;
        for name in [
            "parta.feed.organizations_behind",
            "parta.feed.organizations_quarantined",
            "parta.feed.breaker_open",
        ] {
            assert_eq!(value(name), Some(0.0), "{name}");
        }
        assert!(value("parta.feed.age").is_some_and(|age| age < 15.0));

        roster.poison.lock().unwrap().insert("poison".into());
        for n in 2..=7 {
            add(db, org(n), "a", "poison").await;
        }
        // Four are quarantined; the fifth is the sign of a common cause.
        after_steps(&consumer, async || {
            (value("parta.feed.breaker_open") == Some(1.0)).then_some(())
        })
        .await;
        after_steps(&consumer, async || {
            let quarantined = value("parta.feed.organizations_quarantined");
            (quarantined == Some(4.0)).then_some(())
        })
        .await;
        assert_eq!(value("parta.feed.organizations_behind"), Some(6.0));
        running.stop().await;
    }
);
