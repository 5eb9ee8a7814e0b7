//! The two networks of a cluster: `nodes`, on which pods start and the tests reach them, and
//! `names`, on which pods find each other by the names of the services. A pod joins `names` after
//! its start, because testcontainers starts it without an alias.
//!
//! PostgreSQL and NATS have fixed addresses, as a Service of Kubernetes has: they keep them when
//! they start again. Each pod has their names in its hosts file, because the container engine
//! resolves the name of a server only while the server runs.
use std::net::{IpAddr, Ipv4Addr};

use testcontainers::{
    bollard::{
        Docker,
        models::{
            EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig, NetworkConnectRequest,
            NetworkCreateRequest, NetworkDisconnectRequest,
        },
    },
    core::client::docker_client_instance,
};

#[derive(Clone)]
pub(crate) struct Network {
    docker: Docker,
    nodes: String,
    names: String,
    /// The address of this machine on `nodes`.
    gateway: IpAddr,
    /// The broadcast address of `nodes`, which is its last one. The engine gives pods the first
    /// addresses.
    broadcast: Ipv4Addr,
}

async fn create(docker: &Docker, name: &str, range: Option<IpamConfig>) {
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        ipam: range.map(|range| Ipam {
            config: Some(vec![range]),
            ..Ipam::default()
        }),
        ..NetworkCreateRequest::default()
    };
    docker.create_network(request).await.expect("a network");
}

/// Returns the last address of a range such as `172.18.0.0/16`.
fn last_address(range: &str) -> Option<Ipv4Addr> {
    let (first, bits) = range.split_once('/')?;
    let first = u32::from(first.parse::<Ipv4Addr>().ok()?);
    let others = u32::MAX.checked_shr(bits.parse().ok()?).unwrap_or_default();
    Some(Ipv4Addr::from(first | others))
}

impl Network {
    pub(crate) async fn create(cluster: &str) -> Self {
        let docker = docker_client_instance().await.expect("an engine");
        let (nodes, names) = (format!("{cluster}-nodes"), format!("{cluster}-names"));
        create(&docker, &names, None).await;
        // The engine lets a container choose its address only on a network that was created with a
        // range of addresses. The first network finds a free range; the second one is created with
        // it.
        create(&docker, &nodes, None).await;
        let network = docker.inspect_network(&nodes, None).await.expect("a network");
        let config = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        let config = config.into_iter().next().expect("a range of addresses");
        docker
            .remove_network(&nodes)
            .await
            .expect("the network is not used");
        let gateway = config.gateway.as_ref().and_then(|text| text.parse().ok());
        let broadcast = last_address(config.subnet.as_deref().unwrap_or_default());
        create(&docker, &nodes, Some(config)).await;
        Self {
            gateway: gateway.expect("a gateway"),
            broadcast: broadcast.expect("a range of IPv4 addresses"),
            docker,
            nodes,
            names,
        }
    }

    pub(crate) async fn remove(&self) {
        for name in [&self.nodes, &self.names] {
            // The containers of a failed test keep their networks. The engine that xtask starts
            // removes both at its next start.
            let _ = self.docker.remove_network(name).await;
        }
    }

    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    pub(crate) fn nodes(&self) -> &str {
        &self.nodes
    }

    pub(crate) fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// Lets the other pods find this one by the name of its service.
    pub(crate) async fn name_pod(&self, container: &str, service: &str) {
        let settings = EndpointSettings {
            aliases: Some(vec![service.to_owned()]),
            ..EndpointSettings::default()
        };
        self.connect(&self.names, container, settings).await;
    }

    /// Returns the address of a server, counted back from the broadcast address: the first server
    /// has the number 1.
    pub(crate) fn server_address(&self, number: u32) -> IpAddr {
        Ipv4Addr::from(u32::from(self.broadcast) - number).into()
    }

    /// Gives a server a fixed address. The server must not have connections yet, because they would
    /// be lost.
    pub(crate) async fn assign_address(&self, container: &str, address: IpAddr) {
        self.disconnect(&self.nodes, container).await;
        let settings = EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some(address.to_string()),
                ..EndpointIpamConfig::default()
            }),
            ..EndpointSettings::default()
        };
        self.connect(&self.nodes, container, settings).await;
    }

    /// Disconnects a pod from both networks.
    pub(crate) async fn disconnect_pod(&self, container: &str) {
        self.disconnect(&self.names, container).await;
        self.disconnect(&self.nodes, container).await;
    }

    /// Ends [`Network::disconnect_pod`].
    pub(crate) async fn reconnect_pod(&self, container: &str, service: &str) {
        let settings = EndpointSettings::default();
        self.connect(&self.nodes, container, settings).await;
        self.name_pod(container, service).await;
    }

    /// Returns the address of a container on `nodes`; `None` while it is disconnected or does not
    /// run.
    pub(crate) async fn address(&self, container: &str) -> Option<IpAddr> {
        let found = self.docker.inspect_container(container, None).await.ok()?;
        let networks = found.network_settings?.networks?;
        networks.get(&self.nodes)?.ip_address.as_ref()?.parse().ok()
    }

    async fn connect(&self, network: &str, container: &str, settings: EndpointSettings) {
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(settings),
        };
        let connected = self.docker.connect_network(network, request).await;
        connected.expect("the container joins the network");
    }

    async fn disconnect(&self, network: &str, container: &str) {
        let request = NetworkDisconnectRequest {
            container: container.to_owned(),
            force: Some(true),
        };
        let disconnected = self.docker.disconnect_network(network, request).await;
        disconnected.expect("the container leaves the network");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_address_of_a_range_is_found() {
        let last = |range: &str| last_address(range).map(|address| address.to_string());
        assert_eq!(last("172.18.0.0/16").as_deref(), Some("172.18.255.255"));
        assert_eq!(last("192.168.16.0/20").as_deref(), Some("192.168.31.255"));
        assert_eq!(last("fd00::/64"), None);
    }
}
