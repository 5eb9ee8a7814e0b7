//! Two services that depend on each other: one issues tokens, the other accepts them.

use std::{
    convert::Infallible,
    path::Path,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use crate::{Running, Service, ServiceContext, ServiceParts, Settings, Sources, Task};
use futures::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use parta_access::{Caller, Secrets, SigningKey, TokenIssuer};
use parta_grpc::Routes;
use parta_ids::{Env, MemberId, OrgId, SessionId};
use parta_proto_membership::{
    internal::v1::{
        GetRevocationsRequest, GetRevocationsResponse,
        revocation_service_server::{RevocationService, RevocationServiceServer},
    },
    v1::GetJwksResponse,
};
use tonic::{Request, Response, Status, body::Body};
use tonic_prost::ProstCodec;

pub const GET_CHAT: &str = "/parta.chat.v1.ChatService/GetChat";
pub const SUBSCRIBE: &str = "/parta.chat.v1.LiveService/SubscribeChats";

#[derive(Clone, PartialEq, prost::Message)]
pub struct Note {
    #[prost(string, tag = "1")]
    pub text: String,
}

type ResponseFuture = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;
type Handler = Arc<dyn Fn(http::Request<Body>) -> ResponseFuture + Send + Sync>;

macro_rules! servers {
    ($($name:ident = $full:literal),*) => {$(
        #[derive(Clone)]
        struct $name(Handler);
        impl tonic::server::NamedService for $name {
            const NAME: &'static str = $full;
        }
        impl tower::Service<http::Request<Body>> for $name {
            type Response = http::Response<Body>;
            type Error = Infallible;
            type Future = ResponseFuture;
            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }
            fn call(&mut self, request: http::Request<Body>) -> ResponseFuture {
                (self.0)(request)
            }
        }
    )*};
}

servers!(
    Authentication = "parta.membership.v1.AuthenticationService",
    Chat = "parta.chat.v1.ChatService",
    Live = "parta.chat.v1.LiveService"
);

const SERVED_BY_MEMBERSHIP: &[&str] = &[
    "parta.membership.v1.AuthenticationService",
    "parta.membership.internal.v1.RevocationService",
];

pub const MEMBERSHIP: Service = Service {
    name: "membership",
    package: &parta_proto_membership::PACKAGE,
    calls: &[],
    grpc_services: SERVED_BY_MEMBERSHIP,
    config: |_| Vec::new(),
    build: |context| Box::pin(membership(context)),
    migrations: parta_database::migrations,
};

pub const CHAT: Service = Service {
    name: "chat",
    package: &parta_proto_chat::PACKAGE,
    calls: &[&parta_proto_membership::PACKAGE],
    grpc_services: &["parta.chat.v1.ChatService", "parta.chat.v1.LiveService"],
    config: |_| Vec::new(),
    build: |context| Box::pin(chat(context)),
    migrations: parta_database::migrations,
};

/// [`CHAT`], whose handler panics with a name in its message.
pub const PANICKING_CHAT: Service = Service {
    grpc_services: &["parta.chat.v1.ChatService"],
    build: |context| Box::pin(panicking_chat(context)),
    ..CHAT
};
/// The name in the message of [`PANICKING_CHAT`].
pub const NAME_IN_PANIC: &str = "Анна Петрова";

/// The ended parts, in order, with their suite, because tests run concurrently.
pub static ENDED: Mutex<Vec<([u8; 32], &'static str)>> = Mutex::new(Vec::new());

/// Identifies a suite, because each suite generates its own master secret.
fn mark(secrets: &Secrets) -> [u8; 32] {
    secrets.hmac("test", b"")
}

pub fn ended(folder: &Path) -> Vec<&'static str> {
    let secret = std::fs::read_to_string(folder.join("keys/suite.secret")).unwrap();
    let suite = mark(&Secrets::from_text(&secret).unwrap());
    ENDED
        .lock()
        .unwrap()
        .iter()
        .filter(|(of, _)| *of == suite)
        .map(|(_, name)| *name)
        .collect()
}

fn issuer(keys: Vec<SigningKey>, issuer: &str, env: &Env) -> TokenIssuer {
    TokenIssuer::new(keys, issuer, chrono::TimeDelta::minutes(10), env.clone())
}

async fn membership(context: ServiceContext) -> anyhow::Result<ServiceParts> {
    let jwks = issuer(context.signing_keys.clone(), &context.issuer, &context.env)
        .jwks()
        .to_json();
    let handler: Handler = Arc::new(move |request| {
        let jwks = jwks.clone();
        Box::pin(async move {
            let method = tower::service_fn(move |_: Request<Note>| {
                let jwks = jwks.clone();
                async move { Ok::<_, Status>(Response::new(GetJwksResponse { jwks })) }
            });
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<GetJwksResponse, Note>::default());
            Ok(grpc.unary(method, request).await)
        })
    });
    let revocations = RevocationServiceServer::new(Revocations);
    let routes = Routes::new(Authentication(handler)).add_service(revocations);
    let services = SERVED_BY_MEMBERSHIP.to_vec();
    Ok(ServiceParts {
        name: "membership",
        routes,
        services,
        consumers: Vec::new(),
        tasks: Vec::new(),
    })
}

/// Revoked sessions. The pairwise ids are random, so that the suites of concurrent tests share the list.
pub static REVOKED: Mutex<Vec<SessionId>> = Mutex::new(Vec::new());

/// Lists [`REVOKED`].
struct Revocations;

#[tonic::async_trait]
impl RevocationService for Revocations {
    type GetRevocationsStream = BoxStream<'static, Result<GetRevocationsResponse, Status>>;

    async fn get_revocations(
        &self,
        request: Request<GetRevocationsRequest>,
    ) -> Result<Response<Self::GetRevocationsStream>, Status> {
        let session_ids: Vec<_> = REVOKED.lock().unwrap().iter().map(ToString::to_string).collect();
        let revision = session_ids.len().to_string();
        let unchanged = request.get_ref().known_revision == revision;
        let list = GetRevocationsResponse {
            session_ids: if unchanged { Vec::new() } else { session_ids },
            revision,
            unchanged,
            ..Default::default()
        };
        Ok(Response::new(futures::stream::iter([Ok(list)]).boxed()))
    }
}

async fn echo(request: Request<Note>) -> Result<Response<Note>, Status> {
    Ok(Response::new(Note {
        text: Caller::of(&request)?.acting().key(),
    }))
}

async fn panic_with_a_name(_: Request<Note>) -> Result<Response<Note>, Status> {
    panic!("{NAME_IN_PANIC} has no class");
}

async fn panicking_chat(context: ServiceContext) -> anyhow::Result<ServiceParts> {
    let calls: Handler = Arc::new(|request| {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Note, Note>::default());
            Ok(grpc.unary(tower::service_fn(panic_with_a_name), request).await)
        })
    });
    let parts = chat(context).await?;
    Ok(ServiceParts {
        routes: Routes::new(Chat(calls)),
        services: vec!["parta.chat.v1.ChatService"],
        ..parts
    })
}

async fn live(_: Request<Note>) -> Result<Response<BoxStream<'static, Result<Note, Status>>>, Status> {
    let first = futures::stream::iter([Ok(Note { text: "first".into() })]);
    Ok(Response::new(first.chain(futures::stream::pending()).boxed()))
}

async fn chat(context: ServiceContext) -> anyhow::Result<ServiceParts> {
    anyhow::ensure!(context.signing_keys.is_empty(), "only membership signs");
    context.clients.client("membership")?;
    let calls: Handler = Arc::new(|request| {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Note, Note>::default());
            Ok(grpc.unary(tower::service_fn(echo), request).await)
        })
    });
    let streams: Handler = Arc::new(|request| {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Note, Note>::default());
            Ok(grpc.server_streaming(tower::service_fn(live), request).await)
        })
    });
    let until_canceled = |name: &'static str| {
        let suite = mark(context.db.secrets());
        Task::new(name, move |cancel| async move {
            cancel.cancelled().await;
            ENDED.lock().unwrap().push((suite, name));
            Ok(())
        })
    };
    Ok(ServiceParts {
        name: "chat",
        routes: Routes::new(Chat(calls)).add_service(Live(streams)),
        services: vec!["parta.chat.v1.ChatService", "parta.chat.v1.LiveService"],
        consumers: vec![until_canceled("consumer")],
        tasks: vec![until_canceled("task")],
    })
}

pub fn settings(folder: &Path, more: &[String]) -> Settings {
    let mut keys = vec![
        "server.listen=127.0.0.1:0".to_owned(),
        format!("data.folder={}", folder.display()),
    ];
    keys.extend_from_slice(more);
    Sources::set(keys).load(&[MEMBERSHIP, CHAT]).unwrap().0
}

pub fn person(folder: &Path) -> String {
    person_of(folder, Env::system().id())
}

/// Returns a token of a member, with this session id.
pub fn person_of(folder: &Path, session: SessionId) -> String {
    let env = Env::system();
    let pem = std::fs::read_to_string(folder.join("keys/token-signing.pem")).unwrap();
    let pair = parta_access::KeyPair::from_pem(&pem).unwrap();
    let issuer = issuer(vec![SigningKey::first(pair, env.now())], "parta", &env);
    issuer
        .person(env.id::<OrgId>(), env.id::<MemberId>(), session)
        .unwrap()
        .text
}

pub struct Client(pub parta_grpc::ServiceChannel);

impl Client {
    pub fn of(running: &Running) -> Self {
        Self::at(running.address())
    }

    pub fn at(address: std::net::SocketAddr) -> Self {
        let target = parta_grpc::Target::Uri(format!("http://{address}"));
        Self(
            parta_grpc::ClientBuilder::new(
                Env::system(),
                &[&parta_proto_membership::PACKAGE, &parta_proto_chat::PACKAGE],
            )
            .channel("suite", target)
            .unwrap(),
        )
    }

    fn request(bearer: Option<&str>) -> Request<Note> {
        let mut request = Request::new(Note::default());
        if let Some(token) = bearer {
            request
                .metadata_mut()
                .insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        request
    }

    pub async fn call(&self, path: &'static str, bearer: Option<&str>) -> Result<String, Status> {
        let mut grpc = tonic::client::Grpc::new(self.0.clone());
        grpc.ready().await?;
        let codec = ProstCodec::<Note, Note>::default();
        Ok(grpc
            .unary(Self::request(bearer), path.parse().unwrap(), codec)
            .await?
            .into_inner()
            .text)
    }

    pub async fn open(
        &self,
        path: &'static str,
        bearer: Option<&str>,
    ) -> Result<tonic::Streaming<Note>, Status> {
        let mut grpc = tonic::client::Grpc::new(self.0.clone());
        grpc.ready().await?;
        let codec = ProstCodec::<Note, Note>::default();
        Ok(grpc
            .server_streaming(Self::request(bearer), path.parse().unwrap(), codec)
            .await?
            .into_inner())
    }
}

pub fn reason(status: &Status) -> String {
    parta_status::RpcError::from_status(status).map_or_else(
        || format!("{:?}: {}", status.code(), status.message()),
        |r| r.reason().into(),
    )
}
