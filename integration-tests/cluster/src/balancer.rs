//! The part of a Service `<service>-public`: an address that leads each new connection to a ready pod.
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::pod::Pod;

#[derive(Clone, Default)]
pub(crate) struct Pods(Arc<Mutex<Vec<Arc<Pod>>>>);

impl Pods {
    pub(crate) fn all(&self) -> Vec<Arc<Pod>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn add(&self, pod: Arc<Pod>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(pod);
    }

    pub(crate) fn remove(&self, pod: &Arc<Pod>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| !Arc::ptr_eq(other, pod));
    }
}

/// A running balancer, which stops when it is dropped.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    _guard: DropGuard,
}

impl Balancer {
    pub(crate) async fn start(pods: Pods) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (cancel, tracker) = (CancellationToken::new(), TaskTracker::new());
        let (ended, connections) = (cancel.clone(), tracker.clone());
        let turn = Arc::new(AtomicUsize::new(0));
        tracker.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = ended.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((client, _)) = accepted else { continue };
                let (pods, turn, ended) = (pods.clone(), turn.clone(), ended.clone());
                connections.spawn(async move {
                    tokio::select! {
                        () = ended.cancelled() => {}
                        () = connect(client, &pods, &turn) => {}
                    }
                });
            }
        });
        Self {
            address,
            _guard: cancel.drop_guard(),
        }
    }
}

/// Copies a connection to the next ready pod. Closes it if there is none.
async fn connect(mut client: TcpStream, pods: &Pods, turn: &AtomicUsize) {
    let mut pods = pods.all();
    let first = turn.fetch_add(1, Ordering::Relaxed) % pods.len().max(1);
    pods.rotate_left(first);
    for pod in pods {
        let Some(address) = pod.ready_address().await else {
            continue;
        };
        if let Ok(mut server) = TcpStream::connect(address).await {
            pod.clients.fetch_add(1, Ordering::Relaxed);
            // Both ends see how the connection ends.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            pod.clients.fetch_sub(1, Ordering::Relaxed);
            return;
        }
    }
}
