use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use http::{HeaderMap, header::AUTHORIZATION};
use parta_access::{AccessRules, Caller, OperatorCredential, Principal, Rule, ServiceKeys, Verifier};
use parta_ids::{Clock, Env};
use parta_proto::{Method, options::v1::CallerKind, status::v1::ErrorReason};
use parta_status::{RpcError, unauthenticated_missing};
use tonic::Status;
use tower::Service;

use super::{account_streams::AccountStreams, connections, proxies::TrustedProxies};
use crate::{
    SERVICE_TOKEN,
    layer::{Layered, RpcService, layer},
    rpc::{RpcRequest, RpcResponse, RpcResult},
    stream::credential_expired,
};

/// The interval at which an open stream reads the clock and the age of the known revocations. A revocation
/// itself ends the stream at once.
const RECHECK: Duration = Duration::from_secs(15);

/// The keys and rules with which the `authenticate` layer verifies callers.
pub struct Authenticator {
    /// The rules of every RPC that this process serves. An RPC without a rule is unimplemented.
    pub access: AccessRules,
    /// Verifies bearer tokens of people, accounts, joiners and service accounts.
    pub verifier: Arc<Verifier>,
    /// The public keys of the other services.
    pub services: Arc<ServiceKeys>,
    /// The operator keys, each with the name of the operator in the audit log.
    pub operators: Vec<(String, OperatorCredential)>,
    /// The proxies that may name the address of their client.
    pub proxies: TrustedProxies,
}

#[derive(Clone)]
pub(super) struct Authenticate {
    authenticator: Arc<Authenticator>,
    clock: Arc<dyn Clock>,
    streams: AccountStreams,
}

impl Authenticate {
    pub(super) fn new(authenticator: Arc<Authenticator>, env: &Env) -> Self {
        Self {
            authenticator,
            clock: env.clock.clone(),
            streams: AccountStreams::default(),
        }
    }

    /// Returns the caller, if the RPC accepts it, and the RPC.
    async fn authenticate(
        &self,
        method: Option<&'static Method>,
        headers: &HeaderMap,
    ) -> Result<(Caller, &'static Method), Status> {
        let rule = |method: &Method| self.authenticator.access.rule(method.path);
        let (Some(method), Some(rule)) = (method, method.and_then(rule)) else {
            #[expect(
                clippy::disallowed_methods,
                reason = "the gRPC status for an unknown RPC has no reason"
            )]
            return Err(Status::unimplemented("this server has no such RPC"));
        };
        let caller = self.authenticator.caller(headers, method, rule).await?;
        admit(&caller, rule)?;
        Ok((caller, method))
    }
}

layer!(Authenticate, "authenticate");

impl<S> Service<RpcRequest> for Layered<Authenticate, S>
where
    S: RpcService<Future: Send> + Clone + Send + 'static,
{
    type Response = RpcResponse;
    type Error = Status;
    type Future = BoxFuture<'static, RpcResult>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    /// Boxed, with a clone of the inner service: the keys for a token may have to be loaded before the call.
    fn call(&mut self, mut request: RpcRequest) -> Self::Future {
        let Self { layer, mut inner } = self.clone();
        Box::pin(async move {
            if request.is_open() {
                return inner.call(request).await;
            }
            let headers = request.http.headers();
            let (mut caller, method) = layer.authenticate(request.method, headers).await?;
            let address = layer.authenticator.proxies.client(request.address, headers);
            caller.network = address.map(connections::client);
            let end = (caller.expire_time, caller.acting().clone());
            let stream = layer.streams.begin(&caller.principal, method)?;
            request.http.extensions_mut().insert(caller);
            let mut response = inner.call(request).await?;
            response.guard.account_stream = stream;
            if let (Some(end), who) = end
                && method.streaming
            {
                let verifier = layer.authenticator.verifier.clone();
                let ended = ended(verifier, layer.clock, who, end);
                response.guard.ends.push(Box::pin(ended));
            }
            Ok(response)
        })
    }
}

/// Resolves when the credential expires, when its session or service account is revoked, and when too old
/// revocations no longer show whether it is.
async fn ended(verifier: Arc<Verifier>, clock: Arc<dyn Clock>, who: Principal, end: DateTime<Utc>) -> Status {
    let watch = verifier.watch(&who);
    loop {
        // Before the check, so that a revocation in between is not missed.
        let revoked = watch.revoked();
        if verifier.is_revoked(&who) {
            let why = "The session of this stream was ended. Sign in again.";
            return RpcError::new(ErrorReason::CredentialRevoked, why).into();
        }
        if let Err(stale) = verifier.require_current(&who) {
            return stale.into();
        }
        let left = (end - clock.now()).to_std().unwrap_or_default();
        if left.is_zero() {
            return credential_expired();
        }
        // One timer for the clock and for the age, because up to 10,000 streams wait here.
        tokio::select! {
            () = revoked => {}
            () = tokio::time::sleep(left.min(RECHECK)) => {}
        }
    }
}

impl Authenticator {
    async fn caller(&self, headers: &HeaderMap, method: &Method, rule: &Rule) -> Result<Caller, RpcError> {
        let mut caller = Caller::anonymous(method.rpc());
        // Callers that sign in or refresh may still send an expired token, which is ignored.
        if rule.callers == [CallerKind::Anonymous] {
            return Ok(caller);
        }
        if let Some(value) = headers.get(AUTHORIZATION) {
            let text = bearer(value)?;
            if OperatorCredential::looks_like(text) {
                caller.principal = self.operator(text)?;
            } else {
                caller = self.verifier.caller(text, caller.rpc).await?;
            }
        }
        if let Some(value) = headers.get(SERVICE_TOKEN) {
            let text = value
                .to_str()
                .map_err(|_| invalid("The service token is not text."))?;
            let name = self.services.verify(text, method.owner)?;
            let presented = std::mem::replace(&mut caller.principal, Principal::Service { name });
            caller.on_behalf_of = (presented != Principal::Anonymous).then_some(presented);
        }
        Ok(caller)
    }

    fn operator(&self, text: &str) -> Result<Principal, RpcError> {
        let known = self
            .operators
            .iter()
            .find(|(_, credential)| credential.matches(text));
        let (name, _) =
            known.ok_or_else(|| invalid("The operator key does not belong to this installation."))?;
        Ok(Principal::Operator { name: name.clone() })
    }
}

/// Refuses callers of a kind that the RPC does not accept. The policy of the service decides about
/// permissions.
fn admit(caller: &Caller, rule: &Rule) -> Result<(), RpcError> {
    let accepted = match (&caller.principal, &caller.on_behalf_of) {
        (Principal::Anonymous, _) if !rule.accepts(CallerKind::Anonymous) => {
            return Err(unauthenticated_missing());
        }
        (Principal::Anonymous, _) => true,
        (Principal::Account { .. }, _) => rule.accepts(CallerKind::Account),
        (Principal::Person { .. }, _) => rule.accepts(CallerKind::Person),
        (Principal::Joiner { .. }, _) => rule.accepts(CallerKind::Joiner),
        (Principal::Operator { .. }, _) => rule.accepts(CallerKind::Operator),
        (Principal::ServiceAccount { permissions, .. }, _) => {
            rule.accepts(CallerKind::ServiceAccount)
                && rule
                    .permission
                    .is_some_and(|needed| permissions.contains(&needed))
        }
        (Principal::Service { name }, None) => {
            rule.accepts(CallerKind::Service) && rule.accepts_service(name)
        }
        (Principal::Service { name }, Some(Principal::Person { .. })) => {
            rule.accepts(CallerKind::ServiceForPerson) && rule.accepts_service(name)
        }
        // A service can act on behalf of members only.
        (Principal::Service { .. }, Some(_)) => false,
    };
    if accepted {
        return Ok(());
    }
    let why = "This RPC does not accept callers of this kind.";
    Err(parta_status::caller_not_accepted(caller.rpc, why))
}

fn invalid(why: &str) -> RpcError {
    RpcError::new(ErrorReason::CredentialInvalid, why)
}

fn bearer(value: &http::HeaderValue) -> Result<&str, RpcError> {
    // Checked as UTF-8, which the standard library does by words and `to_str` by bytes.
    let text = std::str::from_utf8(value.as_bytes())
        .map_err(|_| invalid("The metadata `authorization` is not text."))?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(invalid("The metadata `authorization` must be `Bearer <token>`."));
    }
    Ok(token)
}
