use std::{convert::Infallible, sync::Mutex};

use parta_testkit::Authority;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    body::Body,
    transport::{Certificate, ClientTlsConfig, Identity, Server, ServerTlsConfig},
};

use super::*;

/// A replica that returns its name until it is dropped.
struct TestReplica {
    address: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl TestReplica {
    async fn start(name: &'static str) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), name, None).await
    }

    async fn start_at(address: SocketAddr, name: &'static str, tls: Option<ServerTlsConfig>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let service = tower::service_fn(move |_: http::Request<Body>| async move {
            let response = http::Response::builder().header("replica", name);
            Ok::<_, Infallible>(response.body(Body::empty()).unwrap())
        });
        let mut server = Server::builder();
        if let Some(tls) = tls {
            server = server.tls_config(tls).unwrap();
        }
        let incoming = TcpListenerStream::new(listener);
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move {
            server
                .serve_with_incoming_shutdown(service, incoming, stopped)
                .await
        });
        Self { address, tasks, stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The addresses that the name has now.
#[derive(Clone, Default)]
struct Dns(Arc<Mutex<Vec<SocketAddr>>>);

impl Dns {
    fn set(&self, replicas: &[&TestReplica]) {
        *self.0.lock().unwrap() = replicas.iter().map(|replica| replica.address).collect();
    }

    fn replicas(&self) -> Replicas {
        self.replicas_with(Arc::new(|| super::super::endpoint("http://replicas.test", None)))
    }

    fn replicas_with(&self, endpoint: EndpointSource) -> Replicas {
        let addresses = self.0.clone();
        let lookup: Lookup = Arc::new(move || {
            let found = addresses.lock().unwrap().clone();
            Box::pin(async move { Ok(found) })
        });
        Replicas::with("test", lookup, endpoint)
    }
}

async fn call(replicas: &Replicas) -> Result<String, Failed> {
    let request = http::Request::post("/").body(Body::empty()).unwrap();
    let response = replicas.clone().call(request).await?;
    Ok(response.headers()["replica"].to_str().unwrap().to_owned())
}

/// Waits until exactly these replicas are connected.
async fn connected(replicas: &Replicas, expected: &[&TestReplica]) {
    let shared = &replicas.0.connector.shared;
    shared.wake.notify_one();
    let mut states = shared.state.subscribe();
    let is_expected = |state: &State| {
        state.connected.len() == expected.len()
            && expected
                .iter()
                .all(|e| state.connected.iter().any(|replica| replica.address == e.address))
    };
    states.wait_for(is_expected).await.unwrap();
}

async fn call_six_times(replicas: &Replicas) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..6 {
        names.push(call(replicas).await.unwrap());
    }
    names.sort();
    names
}

#[test]
fn calls_take_turns_among_the_addresses_of_a_name() {
    parta_testkit::run(async {
        let (dns, one, two) = (
            Dns::default(),
            TestReplica::start("1").await,
            TestReplica::start("2").await,
        );
        dns.set(&[&one, &two]);
        let replicas = dns.replicas();
        call(&replicas).await.unwrap();
        connected(&replicas, &[&one, &two]).await;
        assert_eq!(call_six_times(&replicas).await, ["1", "1", "1", "2", "2", "2"]);
    });
}

#[test]
fn address_that_dns_no_longer_has_gets_no_calls() {
    parta_testkit::run(async {
        let (dns, old, new) = (
            Dns::default(),
            TestReplica::start("old").await,
            TestReplica::start("new").await,
        );
        dns.set(&[&old]);
        let replicas = dns.replicas();
        assert_eq!(call(&replicas).await.unwrap(), "old");
        dns.set(&[&new]);
        connected(&replicas, &[&new]).await;
        assert_eq!(call_six_times(&replicas).await, ["new"; 6]);
    });
}

#[test]
fn lost_replica_costs_one_call_and_returns() {
    parta_testkit::run(async {
        let (dns, one, two) = (
            Dns::default(),
            TestReplica::start("1").await,
            TestReplica::start("2").await,
        );
        dns.set(&[&one, &two]);
        let replicas = dns.replicas();
        call(&replicas).await.unwrap();
        connected(&replicas, &[&one, &two]).await;
        let address = two.address;
        two.stop().await;
        let mut refused = 0;
        for _ in 0..6 {
            match call(&replicas).await {
                Ok(name) => assert_eq!(name, "1"),
                Err(Failed::Transport(_)) => refused += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(refused, 1);
        let two = TestReplica::start_at(address, "2", None).await;
        connected(&replicas, &[&one, &two]).await;
        assert_eq!(call_six_times(&replicas).await, ["1", "1", "1", "2", "2", "2"]);
    });
}

#[test]
fn call_without_a_replica_waits_for_one_attempt() {
    parta_testkit::run(async {
        let (dns, replica) = (Dns::default(), TestReplica::start("1").await);
        let replicas = dns.replicas();
        let refusal = call(&replicas).await.unwrap_err();
        assert!(matches!(refusal, Failed::Unreachable(_)), "{refusal:?}");
        let address = replica.address;
        dns.set(&[&replica]);
        replica.stop().await;
        let refusal = call(&replicas).await.unwrap_err();
        assert!(matches!(refusal, Failed::Unreachable(_)), "{refusal:?}");
        let _replica = TestReplica::start_at(address, "1", None).await;
        // The attempt that is in progress may have begun before the replica.
        let mut name = call(&replicas).await;
        if name.is_err() {
            name = call(&replicas).await;
        }
        assert_eq!(name.unwrap(), "1");
    });
}

#[test]
fn new_connection_trusts_the_authority_of_now() {
    let _chosen = rustls::crypto::aws_lc_rs::default_provider().install_default();
    parta_testkit::run(async {
        let (old, new) = (Authority::new(), Authority::new());
        let issued = new.issue("replicas.test");
        let identity = Identity::from_pem(issued.certificate, issued.key);
        let tls = ServerTlsConfig::new().identity(identity);
        let address = "127.0.0.1:0".parse().unwrap();
        let replica = TestReplica::start_at(address, "1", Some(tls)).await;
        let trusted = Arc::new(Mutex::new(old.certificate()));
        let source = {
            let trusted = trusted.clone();
            move || ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&*trusted.lock().unwrap()))
        };
        let tls: crate::TlsSource = Arc::new(source);
        let dns = Dns::default();
        dns.set(&[&replica]);
        let replicas = dns.replicas_with(Arc::new(move || {
            super::super::endpoint("https://replicas.test", Some(&tls))
        }));
        let refusal = call(&replicas).await.unwrap_err();
        assert!(matches!(refusal, Failed::Unreachable(_)), "{refusal:?}");
        *trusted.lock().unwrap() = new.certificate();
        assert_eq!(call(&replicas).await.unwrap(), "1");
    });
}
