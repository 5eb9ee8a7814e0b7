//! The limits of applications (R1): anybody may submit one, and nobody may fill the disk.
use std::time::Duration;

use chrono::TimeDelta;
use futures::future::join_all;
use parta_proto_org_registry::v1::SubmitApplicationResponse;
use parta_runtime::ServiceConfig as _;
use parta_status::RpcError;
use parta_testkit::on_both;
use tonic::Status;

use crate::{
    config::Config,
    tests::fixture::{Fixture, chunk, form, header, reason_and_fields},
};

const STRANGER: &str = "198.51.100.7";
const APPLICANT: &str = "203.0.113.5";

/// The limit that a refusal names, and when it ends.
fn limit(refused: Result<SubmitApplicationResponse, Status>) -> (String, Duration) {
    let refused = RpcError::from_status(&refused.unwrap_err()).unwrap();
    assert_eq!(refused.reason(), "RATE_LIMITED");
    (
        refused.metadata("limit").unwrap().to_owned(),
        refused.retry_delay().unwrap(),
    )
}

// Case 30: of forty applications by one caller at once, all were stored.
// Covers: R1 allowed, R1 refused
on_both!(
    one_network_submits_few_applications_at_once,
    |database| async move {
        let fixture = Fixture::open_with(database, Config::default()).await;
        let ids: Vec<_> = (0..40).map(|_| fixture.request_id()).collect();
        let submitted = ids
            .iter()
            .zip(1..)
            .map(|(id, n)| fixture.submit_from(STRANGER, id.clone(), form(n)));
        let submitted = join_all(submitted).await;
        let accepted: Vec<_> = submitted.iter().map(Result::is_ok).collect();
        assert_eq!(accepted.iter().filter(|ok| **ok).count(), 10);
        for refused in submitted.into_iter().filter(Result::is_err) {
            let expected = ("applications_of_network".to_owned(), Duration::from_mins(3));
            assert_eq!(limit(refused), expected);
        }
        assert_eq!(
            fixture.rows().await[..2],
            [10, 10],
            "applications and their documents"
        );
        let elsewhere = fixture.submit_from(APPLICANT, fixture.request_id(), form(50));
        elsewhere.await.unwrap();
        fixture.time.advance(TimeDelta::minutes(3));
        // The refused call may be repeated, and takes the token that came back.
        let refused = accepted.iter().position(|ok| !ok).unwrap();
        let number = u64::try_from(refused).unwrap() + 1;
        let again = fixture.submit_from(STRANGER, ids[refused].clone(), form(number));
        again.await.unwrap();
        let next = fixture.submit_from(STRANGER, fixture.request_id(), form(60));
        assert_eq!(limit(next.await).0, "applications_of_network");
        fixture.close().await;
    }
);

// A refused caller is refused before the document is received, whose chunk would be invalid. An invalid
// application counts nothing.
// Covers: R1 refused
on_both!(refused_caller_sends_no_document, |database| async move {
    let config = Config {
        applications_per_hour_of_network: 1,
        ..Config::default()
    };
    let fixture = Fixture::open_with(database, config).await;
    let invalid = async || {
        let messages = vec![header(&fixture.request_id(), form(2)), chunk(b"MZ")];
        let refused = fixture.send(&None, messages).await.unwrap_err();
        reason_and_fields(&refused).0
    };
    assert_eq!(
        [invalid().await, invalid().await],
        ["FIELD_INVALID", "FIELD_INVALID"]
    );
    let id = fixture.request_id();
    fixture.submit(&id, form(1), b"%PDF-1.7 order").await.unwrap();
    assert_eq!(invalid().await, "RATE_LIMITED");
    fixture.close().await;
});

// Covers: R1 refused
on_both!(
    installation_accepts_a_limited_number_of_applications,
    |database| async move {
        let config = Config {
            applications_per_hour: 8,
            ..Config::default()
        };
        let fixture = Fixture::open_with(database, config).await;
        for n in 1..=2 {
            let network = format!("198.51.100.{n}");
            let submitted = fixture.submit_from(&network, fixture.request_id(), form(n));
            submitted.await.unwrap();
        }
        let refused = fixture.submit_from(APPLICANT, fixture.request_id(), form(3));
        let (limit, wait) = limit(refused.await);
        assert_eq!(limit, "applications_of_installation");
        assert_eq!(wait, Duration::from_secs(450));
        // The refused application took nothing of the network of its applicant.
        fixture.time.advance(TimeDelta::seconds(450));
        let again = fixture.submit_from(APPLICANT, fixture.request_id(), form(3));
        again.await.unwrap();
        fixture.close().await;
    }
);

#[test]
fn limits_of_applications_have_a_range() {
    for count in [0, 3_600_001] {
        let mut problems = Vec::new();
        let config = Config {
            applications_per_hour_of_network: count,
            applications_per_hour: count,
        };
        config.validate(&mut problems);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
    let mut problems = Vec::new();
    Config::default().validate(&mut problems);
    assert_eq!(problems, [""; 0]);
}
