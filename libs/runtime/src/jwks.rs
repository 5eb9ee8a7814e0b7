//! The source of the keys that verify access tokens: membership, through the same call in one process and in
//! a cluster.
use std::sync::Arc;

use parta_access::{JwkSource, Jwks, Verifier};
use parta_grpc::{ClientBuilder, RequestExt as _, ServiceChannel, Target};
use parta_ids::Env;
use parta_proto_membership::v1::{
    GetJwksRequest, authentication_service_client::AuthenticationServiceClient,
};
use parta_status::{RpcError, unavailable};
use tonic::IntoRequest as _;

/// Returns a verifier of the tokens of this suite, which also needs the revocations that membership lists.
/// Without an address of membership, every token is refused with UNAVAILABLE.
pub(crate) fn verifier(
    client: &ClientBuilder,
    targets: &[(String, Target)],
    issuer: &str,
    env: &Env,
) -> anyhow::Result<Verifier> {
    let membership = targets.iter().find(|(name, _)| name == "membership");
    let channel = membership
        .map(|(name, target)| client.channel(name, target.clone()))
        .transpose()?;
    let source = JwkSource::fetched(Arc::new(move || {
        let channel = channel.clone();
        Box::pin(async move { fetch(channel.ok_or_else(|| unavailable("membership"))?).await })
    }));
    Ok(Verifier::new(source, issuer, env.clone()).polled())
}

async fn fetch(channel: ServiceChannel) -> Result<Jwks, RpcError> {
    let response = AuthenticationServiceClient::new(channel)
        .get_jwks(GetJwksRequest {}.into_request().idempotent())
        .await;
    let jwks = response.map_err(|status| failed(&status))?.into_inner().jwks;
    Jwks::from_json(&jwks).map_err(RpcError::internal)
}

fn failed(status: &tonic::Status) -> RpcError {
    tracing::debug!(code = ?status.code(), "key fetch from membership failed");
    unavailable("membership")
}
