use std::sync::Arc;

use futures::future::BoxFuture;
use http::{HeaderValue, header::AUTHORIZATION};
use parta_access::ServiceIdentity;
use parta_status::RpcError;
use tonic::Status;

use super::OnBehalf;
use crate::{
    SERVICE_TOKEN,
    step::{Next, RpcRequest, RpcResult, Step},
};

pub(super) struct Credentials {
    identity: Option<Arc<ServiceIdentity>>,
    audience: String,
}

impl Credentials {
    pub(super) fn new(identity: Option<Arc<ServiceIdentity>>, audience: &str) -> Self {
        Self {
            identity,
            audience: audience.to_owned(),
        }
    }
}

fn secret(text: &str) -> Result<HeaderValue, Status> {
    let mut value = HeaderValue::from_str(text).map_err(|e| Status::from(RpcError::internal(e)))?;
    value.set_sensitive(true);
    Ok(value)
}

impl Step for Credentials {
    fn name(&self) -> &'static str {
        "credentials"
    }

    fn call<'a>(&'a self, mut call: RpcRequest, next: Next<'a>) -> BoxFuture<'a, RpcResult> {
        Box::pin(async move {
            if let Some(identity) = &self.identity {
                let token = identity.mint(&self.audience)?;
                call.request.headers_mut().insert(SERVICE_TOKEN, secret(&token)?);
            }
            if let Some(OnBehalf(token)) = call.request.extensions().get::<OnBehalf>().cloned() {
                call.request
                    .headers_mut()
                    .insert(AUTHORIZATION, secret(&format!("Bearer {token}"))?);
            }
            next.run(call).await
        })
    }
}
