//! A server with the real layers over handlers whose requests select their behavior, and callers of every
//! kind.
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use crate::{
    Authenticator, ClientBuilder, InMemoryTransport, Limits, Methods, Patience, Routes, ServerLayers,
    ServiceChannel, Target, layers,
    server::{ServeOptions, TrustedProxies, serve},
};
use futures::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use parta_access::{
    AccessRules, Caller, JwkSource, KeyPair, OperatorCredential, ServiceAccountPermission, ServiceIdentity,
    ServiceKeys, SigningKey, TokenIssuer, Verifier,
};
use parta_ids::{Env, MemberId, OrgId, ServiceAccountId, SessionId};
use parta_proto::status::v1::ErrorReason;
use parta_proto_all::PACKAGES;
use parta_status::RpcError;
use secrecy::ExposeSecret as _;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, body::Body};
use tonic_prost::ProstCodec;

pub const GET_CHAT: &str = "/parta.chat.v1.ChatService/GetChat";
pub const SUBSCRIBE: &str = "/parta.chat.v1.LiveService/SubscribeChats";
pub const ANNOUNCE: &str = "/parta.chat.internal.v1.AnnouncementService/PostAnnouncement";
pub const ADMIT: &str = "/parta.membership.internal.v1.AdmissionService/AdmitMember";
pub const WATCH: &str = "/parta.membership.v1.MembershipFeedService/Watch";
pub const SUBMIT: &str = "/parta.org_registry.v1.ApplicationService/SubmitApplication";
pub const RESOLVE: &str = "/parta.invitation.v1.InvitationService/ResolveInvitation";

/// A message with one text field; every RPC of these tests accepts and returns it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Note {
    #[prost(string, tag = "1")]
    pub text: String,
}

#[derive(Default)]
pub struct Seen {
    pub calls: AtomicUsize,
    /// Client streams that were received to their end.
    pub uploads: AtomicUsize,
    /// Notified when a waiting handler was entered, and when a client stream has brought a message or ended.
    pub entered: Notify,
    /// Releases one waiting handler.
    pub release: Notify,
}

async fn handle(seen: Arc<Seen>, request: Request<Note>) -> Result<Response<Note>, Status> {
    let count = seen.calls.fetch_add(1, Ordering::SeqCst);
    let caller = Caller::of(&request)?;
    let text = match request.get_ref().text.as_str() {
        "panic" => panic!("as requested"),
        "wait" => {
            seen.entered.notify_one();
            seen.release.notified().await;
            "waited".into()
        }
        "busy twice" if count < 2 => return Err(parta_status::unavailable("test").into()),
        "busy five times" if count < 5 => return Err(parta_status::unavailable("test").into()),
        "busy" => return Err(parta_status::unavailable("test").into()),
        "no retry info" => return Err(RpcError::new(ErrorReason::NotServing, "for good").into()),
        "etag" => return Err(parta_status::etag_mismatch().into()),
        "undocumented" => return Err(std::io::Error::other("a detail of ours").into()),
        _ => format!("{} for {}", caller.principal.key(), caller.acting().key()),
    };
    Ok(Response::new(Note { text }))
}

async fn upload(seen: Arc<Seen>, request: Request<tonic::Streaming<Note>>) -> Result<Response<Note>, Status> {
    let mut stream = request.into_inner();
    let received = async {
        let mut bytes = 0;
        while let Some(message) = stream.message().await? {
            bytes += message.text.len();
            seen.entered.notify_one();
        }
        Ok::<_, Status>(bytes)
    };
    let received = received.await;
    if received.is_ok() {
        seen.uploads.fetch_add(1, Ordering::SeqCst);
    }
    seen.entered.notify_one();
    let text = received?.to_string();
    Ok(Response::new(Note { text }))
}

type Notes = BoxStream<'static, Result<Note, Status>>;

async fn stream(seen: Arc<Seen>, request: Request<Note>) -> Result<Response<Notes>, Status> {
    seen.calls.fetch_add(1, Ordering::SeqCst);
    Caller::of(&request)?;
    let first = futures::stream::iter([Ok(Note { text: "first".into() })]);
    let rest: Notes = match request.get_ref().text.as_str() {
        "panic" => futures::stream::once(async {
            // The first message is sent before the panic.
            tokio::task::yield_now().await;
            panic!("as requested")
        })
        .boxed(),
        "short" => futures::stream::empty().boxed(),
        "etag" => futures::stream::once(async { Err(parta_status::etag_mismatch().into()) }).boxed(),
        _ => futures::stream::pending().boxed(),
    };
    Ok(Response::new(first.chain(rest).boxed()))
}

#[derive(Clone)]
struct Fake(Arc<Seen>);

impl Fake {
    fn response(
        &self,
        request: http::Request<Body>,
    ) -> BoxFuture<'static, Result<http::Response<Body>, Infallible>> {
        let seen = self.0.clone();
        let uploads = request.uri().path() == SUBMIT;
        let streams = [SUBSCRIBE, WATCH].contains(&request.uri().path());
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Note, Note>::default());
            Ok(if uploads {
                grpc.client_streaming(tower::service_fn(move |r| upload(seen.clone(), r)), request)
                    .await
            } else if streams {
                grpc.server_streaming(tower::service_fn(move |r| stream(seen.clone(), r)), request)
                    .await
            } else {
                grpc.unary(tower::service_fn(move |r| handle(seen.clone(), r)), request)
                    .await
            })
        })
    }
}

macro_rules! fakes {
    ($($name:ident = $full:literal),*) => {
        $(
            #[derive(Clone)]
            struct $name(Fake);
            impl tonic::server::NamedService for $name {
                const NAME: &'static str = $full;
            }
            impl tower::Service<http::Request<Body>> for $name {
                type Response = http::Response<Body>;
                type Error = Infallible;
                type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;
                fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                    Poll::Ready(Ok(()))
                }
                fn call(&mut self, request: http::Request<Body>) -> Self::Future {
                    self.0.response(request)
                }
            }
        )*
        const NAMES: &[&str] = &[$($full),*];
        fn routes(seen: &Arc<Seen>) -> Routes {
            Routes::default()$(.add_service($name(Fake(seen.clone()))))*
        }
    };
}

fakes!(
    Chat = "parta.chat.v1.ChatService",
    Live = "parta.chat.v1.LiveService",
    Announcement = "parta.chat.internal.v1.AnnouncementService",
    Admission = "parta.membership.internal.v1.AdmissionService",
    Feed = "parta.membership.v1.MembershipFeedService",
    Invitation = "parta.invitation.v1.InvitationService",
    Applications = "parta.org_registry.v1.ApplicationService"
);

pub struct TestEnv {
    pub env: Env,
    pub seen: Arc<Seen>,
    pub verifier: Arc<Verifier>,
    pub operator: String,
    pub draining: CancellationToken,
    pub stop: CancellationToken,
    pub tracker: TaskTracker,
    issuer: TokenIssuer,
    layers: ServerLayers,
    pipe: InMemoryTransport,
    identities: Vec<Arc<ServiceIdentity>>,
}

impl TestEnv {
    pub fn new() -> Self {
        Self::with(Limits::default(), chrono::TimeDelta::minutes(10))
    }

    pub fn with(limits: Limits, token_life: chrono::TimeDelta) -> Self {
        Self::build(limits, token_life, false)
    }

    /// Returns an environment whose verifier needs responses of membership.
    pub fn polled() -> Self {
        Self::build(Limits::default(), chrono::TimeDelta::minutes(10), true)
    }

    fn build(limits: Limits, token_life: chrono::TimeDelta, polled: bool) -> Self {
        let env = Env::system();
        let signing = SigningKey {
            kid: "one".into(),
            pair: KeyPair::generate(&env).unwrap(),
            publish_time: env.now() - chrono::TimeDelta::hours(1),
            sign_from: env.now() - chrono::TimeDelta::hours(1),
            retire_time: None,
        };
        let issuer = TokenIssuer::new(vec![signing], "test", token_life, env.clone());
        let source = JwkSource::shared();
        source.set(&issuer.jwks(), env.now());
        let verifier = Verifier::new(source, "test", env.clone());
        let verifier = Arc::new(if polled { verifier.polled() } else { verifier });
        let (operator, credential) = OperatorCredential::generate(&env);
        let pairs: Vec<_> = ["invitation", "call-scheduling", "chat"]
            .map(|name| (name, KeyPair::generate(&env).unwrap()))
            .into_iter()
            .collect();
        let keys = ServiceKeys::new(pairs.iter().map(|(n, p)| (*n, p.public())), env.clone()).unwrap();
        let identities = pairs
            .iter()
            .map(|(n, p)| Arc::new(ServiceIdentity::new(*n, p, env.clone()).unwrap()))
            .collect();
        let authenticator = Arc::new(Authenticator {
            access: AccessRules::load(parta_proto_all::descriptor_pool().unwrap(), NAMES).unwrap(),
            verifier: verifier.clone(),
            services: Arc::new(keys),
            operators: vec![("root".into(), credential)],
            proxies: TrustedProxies::default(),
        });
        let (draining, stop, tracker) = (
            CancellationToken::new(),
            CancellationToken::new(),
            TaskTracker::new(),
        );
        let seen = Arc::new(Seen::default());
        let stack = layers(
            &env,
            Methods::of(PACKAGES),
            authenticator,
            limits,
            draining.clone(),
        );
        let (pipe, incoming) = InMemoryTransport::pair();
        let serving = serve(
            incoming,
            routes(&seen),
            stack.clone(),
            ServeOptions::default(),
            stop.clone().cancelled_owned(),
        );
        tracker.spawn(serving);
        let operator = operator.expose_secret().to_owned();
        Self {
            env,
            seen,
            verifier,
            operator,
            draining,
            stop,
            tracker,
            issuer,
            layers: stack,
            pipe,
            identities,
        }
    }

    /// Returns the servers and the layers, for another server.
    pub fn served(&self) -> (Routes, ServerLayers) {
        (routes(&self.seen), self.layers.clone())
    }

    pub fn server_layers(&self) -> &[&'static str] {
        self.layers.names()
    }

    pub fn person(&self) -> (String, SessionId) {
        let session = self.env.id();
        let token = self
            .issuer
            .person(self.env.id::<OrgId>(), self.env.id::<MemberId>(), session)
            .unwrap();
        (token.text, session)
    }

    pub fn service_account(&self, permission: ServiceAccountPermission) -> String {
        let (org, id) = (self.env.id::<OrgId>(), self.env.id::<ServiceAccountId>());
        self.issuer
            .service_account(org, id, self.env.id(), [permission])
            .unwrap()
            .text
    }

    pub fn joiner(&self) -> String {
        self.issuer
            .joiner(self.env.id(), parta_access::LinkDigest::of("link"), self.env.id())
            .unwrap()
            .text
    }

    pub fn client(&self) -> ClientBuilder {
        ClientBuilder::new(self.env.clone(), PACKAGES)
    }

    /// Returns a channel of an external caller to the service of the path.
    pub fn outside(&self) -> ServiceChannel {
        self.client()
            .channel("chat", Target::Memory(self.pipe.clone()))
            .unwrap()
    }

    /// Returns a channel of an external caller who lists no package.
    pub fn without_packages(&self) -> ServiceChannel {
        ClientBuilder::new(self.env.clone(), &[])
            .channel("chat", Target::Memory(self.pipe.clone()))
            .unwrap()
    }

    /// Returns a channel of an external caller who waits for refusing servers.
    pub fn patient(&self, patience: Patience) -> ServiceChannel {
        self.client()
            .patience(patience)
            .channel("chat", Target::Memory(self.pipe.clone()))
            .unwrap()
    }

    /// Returns a channel of one service to another.
    pub fn service(&self, name: &str, audience: &str) -> ServiceChannel {
        let identity = self.identities.iter().find(|i| i.name() == name).unwrap().clone();
        self.client()
            .identity(identity)
            .channel(audience, Target::Memory(self.pipe.clone()))
            .unwrap()
    }
}

pub fn note(text: &str) -> Request<Note> {
    Request::new(Note { text: text.into() })
}

pub fn bearer(text: &str, token: &str) -> Request<Note> {
    let mut request = note(text);
    request
        .metadata_mut()
        .insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

pub async fn call(
    channel: ServiceChannel,
    path: &'static str,
    request: Request<Note>,
) -> Result<Response<Note>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await?;
    grpc.unary(
        request,
        path.parse().unwrap(),
        ProstCodec::<Note, Note>::default(),
    )
    .await
}

pub async fn open(
    channel: ServiceChannel,
    path: &'static str,
    request: Request<Note>,
) -> Result<tonic::Streaming<Note>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await?;
    let response = grpc
        .server_streaming(
            request,
            path.parse().unwrap(),
            ProstCodec::<Note, Note>::default(),
        )
        .await;
    response.map(Response::into_inner)
}

/// Returns the documented reason of a refusal.
pub fn reason(status: &Status) -> String {
    RpcError::from_status(status).map_or_else(
        || format!("{:?}: {}", status.code(), status.message()),
        |r| r.reason().into(),
    )
}

pub fn refused<T>(outcome: Result<T, Status>) -> String {
    outcome.map_or_else(|status| reason(&status), |_| "OK".into())
}
