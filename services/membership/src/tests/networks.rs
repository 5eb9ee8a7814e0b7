//! Codes that are requested and entered from a given network.
use parta_proto_membership::v1 as pb;
use tonic::{Request, Status};

use super::test_env::{TestEnv, reason};

/// A request from a network. A caller in this process is believed when it names an address.
fn from<T>(network: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("x-forwarded-for", network.parse().unwrap());
    request
}

pub(crate) fn other_code(right: &str) -> &'static str {
    if right == "000000" { "000001" } else { "000000" }
}

pub(crate) async fn request_code(test_env: &TestEnv, network: &str, phone: &str) -> Result<String, Status> {
    let request = pb::RequestCodeRequest {
        request_id: test_env.act(),
        phone: phone.to_owned(),
        ..Default::default()
    };
    let response = test_env
        .authentication()
        .request_code(from(network, request))
        .await?;
    Ok(response.into_inner().flow_id)
}

pub(crate) async fn verify(
    test_env: &TestEnv,
    network: &str,
    flow: &str,
    code: &str,
) -> Result<pb::VerifyCodeResponse, Status> {
    let request = pb::VerifyCodeRequest {
        flow_id: flow.to_owned(),
        code: code.to_owned(),
    };
    let response = test_env
        .authentication()
        .verify_code(from(network, request))
        .await?;
    Ok(response.into_inner())
}

/// Enters `count` wrong codes for an address, five of each code.
pub(crate) async fn enter_wrong_codes(test_env: &TestEnv, network: &str, phone: &str, count: usize) {
    for _ in 0..count / 5 {
        let flow = request_code(test_env, network, phone).await.unwrap();
        let wrong = other_code(&test_env.code(phone).await);
        for _ in 0..5 {
            let refused = verify(test_env, network, &flow, wrong).await;
            assert_eq!(reason(&refused), "CODE_WRONG");
        }
        test_env.minute();
    }
}
