//! Stored values that this build does not know.
use parta_service_testkit::reason;
use parta_testkit::on_both;
use sea_orm::ConnectionTrait as _;

use crate::tests::fixture::Fixture;

on_both!(
    unknown_role_of_an_invitation_is_unavailable,
    |database| async move {
        parta_testkit::logs().allow("a stored value is not known to this build");
        let fixture = Fixture::open(&database).await;
        let (_, token) = fixture.link(1).await;
        fixture.resolve(&token).await.unwrap();
        let update = "UPDATE invitation SET role = 'visitor'";
        let done = fixture.test_env.db.writer().execute_unprepared(update).await;
        assert_eq!(done.unwrap().rows_affected(), 1);
        assert_eq!(reason(&fixture.resolve(&token).await), "STORED_VALUE_UNKNOWN");
    }
);
