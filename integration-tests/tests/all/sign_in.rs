//! The address by which the limits of sign-in count (R19): that of the connection, or that which a trusted
//! proxy names.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
use std::sync::Arc;

use parta_grpc::{ClientBuilder, Target};
use parta_ids::Env;
use parta_integration_tests::{Suite, new_phone, reason};
use parta_proto_all::PACKAGES;
use parta_proto_membership::v1::{
    RequestCodeRequest, authentication_service_client::AuthenticationServiceClient,
};
use tonic::Request;

/// Requests a code, with an address in the header of proxies. Returns the reason of the refusal.
async fn refusal(suite: &Suite, phone: &str, forwarded: &str) -> Option<String> {
    let env = Env::system();
    let address = Target::Uri(suite.addresses()["membership"].clone());
    let channel = ClientBuilder::new(env.clone(), PACKAGES).channel("membership", address);
    let mut request = Request::new(RequestCodeRequest {
        request_id: env.ids.uuid().to_string(),
        phone: phone.to_owned(),
        ..Default::default()
    });
    let metadata = request.metadata_mut();
    metadata.insert("x-forwarded-for", forwarded.parse().unwrap());
    let response = AuthenticationServiceClient::new(channel.unwrap())
        .request_code(request)
        .await;
    response.err().map(|status| reason(&status))
}

mod only_trusted_proxies_name_their_clients {
    use super::*;

    // Covers: R19 allowed, R19 refused
    #[test]
    fn one_process() {
        parta_testkit::run(async {
            let folder = Arc::new(tempfile::tempdir().unwrap());
            let trusting = ["server.trusted_proxies=[\"127.0.0.0/8\"]"];
            let suite = Suite::one_process_in(folder, &trusting).await;
            let (phone, limited) = (new_phone(), Some("RATE_LIMITED".to_owned()));
            assert_eq!(refusal(&suite, &phone, "198.51.100.7").await, None);
            assert_eq!(refusal(&suite, &phone, "1.1.1.1, 198.51.100.7").await, limited);
            assert_eq!(refusal(&suite, &phone, "203.0.113.5").await, None);
            suite.stop().await;

            let suite = Suite::one_process().await;
            assert_eq!(refusal(&suite, &phone, "198.51.100.7").await, None);
            assert_eq!(refusal(&suite, &phone, "203.0.113.5").await, limited);
            suite.stop().await;
        });
    }
}
