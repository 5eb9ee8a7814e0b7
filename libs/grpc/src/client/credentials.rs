use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::Either;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use parta_access::ServiceIdentity;
use parta_status::RpcError;
use tonic::Status;
use tower::Service;

use super::request::OnBehalf;
use crate::{
    SERVICE_TOKEN,
    layer::{Layered, Refused, RpcService, layer, refused},
    rpc::{RpcRequest, RpcResponse},
};

#[derive(Clone)]
pub(super) struct Credentials {
    identity: Option<Arc<ServiceIdentity>>,
    audience: Arc<str>,
}

impl Credentials {
    pub(super) fn new(identity: Option<Arc<ServiceIdentity>>, audience: &str) -> Self {
        Self {
            identity,
            audience: audience.into(),
        }
    }

    fn insert(&self, on_behalf: Option<OnBehalf>, headers: &mut HeaderMap) -> Result<(), Status> {
        if let Some(identity) = &self.identity {
            let token = identity.mint(&self.audience)?;
            headers.insert(SERVICE_TOKEN, secret(&token)?);
        }
        if let Some(OnBehalf(token)) = on_behalf {
            headers.insert(AUTHORIZATION, secret(&format!("Bearer {token}"))?);
        }
        Ok(())
    }
}

fn secret(text: &str) -> Result<HeaderValue, Status> {
    let mut value = HeaderValue::from_str(text).map_err(|e| Status::from(RpcError::internal(e)))?;
    value.set_sensitive(true);
    Ok(value)
}

layer!(Credentials, "credentials");

impl<S: RpcService> Service<RpcRequest> for Layered<Credentials, S> {
    type Response = RpcResponse;
    type Error = Status;
    type Future = Either<Refused, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: RpcRequest) -> Self::Future {
        let on_behalf = request.http.extensions().get::<OnBehalf>().cloned();
        match self.layer.insert(on_behalf, request.http.headers_mut()) {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(status) => Either::Left(refused(status)),
        }
    }
}
