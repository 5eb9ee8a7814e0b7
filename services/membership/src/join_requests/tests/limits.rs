//! An account makes at most five requests a day by one link.
use std::time::Duration;

use super::*;

impl School {
    async fn request_again(&self, link: &AdmitMemberRequest) -> Result<AdmitMemberResponse, Status> {
        let again = AdmitMemberRequest {
            request_id: self.env.act(),
            ..link.clone()
        };
        self.admit(again).await
    }

    async fn request_and_withdraw(&self, person: &Person, link: &AdmitMemberRequest) {
        let requested = self.request_again(link).await.unwrap();
        self.withdraw(person, &requested.join_request_id).await.unwrap();
        self.env.minute();
    }
}

// Covers: R18 refused
on_both!(
    request_is_repeated_five_times_a_day_at_most,
    |database| async move {
        let school = School::open(database).await;
        let person = school.env.newcomer("+79161111111", "Ян Котов").await;
        let link = school.open_link(&person, Role::Pupil).await;
        for _ in 0..5 {
            school.request_and_withdraw(&person, &link).await;
        }
        let refused = school.request_again(&link).await.unwrap_err();
        let refused = parta_status::RpcError::from_status(&refused).unwrap();
        assert_eq!(refused.reason(), "RATE_LIMITED");
        assert_eq!(refused.metadata("limit"), Some("requests_by_invitation"));
        let wait = refused.retry_delay().unwrap();
        let passed = Duration::from_secs(24 * 3600) - wait;
        assert!(passed >= Duration::from_secs(5 * 60), "{passed:?}");
        // Another link and another person are not concerned.
        school.request(&person, Role::Pupil).await;
        let other = school.env.newcomer("+79162222222", "Ева Котова").await;
        let of_other = AdmitMemberRequest {
            flow_id: school.env.flow(&other, &link.invitation_id).await,
            ..link.clone()
        };
        school.request_again(&of_other).await.unwrap();
        school.env.time.advance(TimeDelta::from_std(wait).unwrap());
        school.request_again(&link).await.unwrap();
        school.env.close().await;
    }
);
