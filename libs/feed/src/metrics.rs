//! The metrics of the consumers. Organizations are no attributes, because there are too many.
use opentelemetry::{KeyValue, global};
use parta_database::Db;

use crate::{ConsumerHandle, consumers};

/// Exports how far the consumers of a database are, once for each process and database. A consumer without a
/// heartbeat has no age yet.
pub fn observe(db: &Db) {
    let meter = global::meter("parta");
    let service = db.service().to_owned();
    let handles = consumers(db);
    let attributes = move |consumer: &ConsumerHandle| {
        [
            KeyValue::new("service", service.clone()),
            KeyValue::new("consumer", consumer.name),
            KeyValue::new("source", consumer.source),
        ]
    };
    let (of, all) = (attributes.clone(), handles.clone());
    let _ = meter
        .f64_observable_gauge("parta.feed.age")
        .with_unit("s")
        .with_description(
            "Age of the oldest data of an organization that is not quarantined, or of an overdue ending",
        )
        .with_callback(move |gauge| {
            for consumer in &all {
                let (heartbeat, lags) = consumer.lags();
                let open = lags.iter().filter(|lag| !lag.is_quarantined);
                let overdue = consumer
                    .overdue_endings()
                    .into_iter()
                    .map(|(_, lateness)| lateness);
                let ages = open.filter_map(|lag| lag.age).chain(overdue);
                let oldest = ages.chain(heartbeat).max();
                if let Some(oldest) = oldest {
                    gauge.observe(oldest.as_secs_f64(), &of(consumer));
                }
            }
        })
        .build();
    let (of, all) = (attributes.clone(), handles.clone());
    let _ = meter
        .u64_observable_gauge("parta.feed.organizations_behind")
        .with_description("Organizations that have unapplied events")
        .with_callback(move |gauge| {
            for consumer in &all {
                gauge.observe(consumer.lags().1.len() as u64, &of(consumer));
            }
        })
        .build();
    let (of, all) = (attributes.clone(), handles.clone());
    let _ = meter
        .u64_observable_gauge("parta.feed.organizations_quarantined")
        .with_description("Organizations whose events this consumer cannot apply")
        .with_callback(move |gauge| {
            for consumer in &all {
                let lags = consumer.lags().1;
                let count = lags.iter().filter(|lag| lag.is_quarantined).count();
                gauge.observe(count as u64, &of(consumer));
            }
        })
        .build();
    let _ = meter
        .u64_observable_gauge("parta.feed.breaker_open")
        .with_description("1 if so many organizations fail that none is quarantined any more")
        .with_callback(move |gauge| {
            for consumer in &handles {
                gauge.observe(u64::from(consumer.is_breaker_open()), &attributes(consumer));
            }
        })
        .build();
}
