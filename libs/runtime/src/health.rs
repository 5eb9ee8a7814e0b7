//! Health checks per service and reflection, which require no credential.
use parta_grpc::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};

pub(crate) struct Health {
    reporter: HealthReporter,
    names: Vec<&'static str>,
}

impl Health {
    /// Reports NOT_SERVING for every service until [`Health::serving`] is called.
    pub(crate) async fn new(services: &[&'static str]) -> Self {
        let names = services.iter().copied().chain([""]).collect();
        let health = Self {
            reporter: HealthReporter::new(),
            names,
        };
        health.not_serving().await;
        health
    }

    pub(crate) async fn serving(&self) {
        self.set(ServingStatus::Serving).await;
    }

    pub(crate) async fn not_serving(&self) {
        self.set(ServingStatus::NotServing).await;
    }

    async fn set(&self, status: ServingStatus) {
        for name in &self.names {
            self.reporter.set_service_status(*name, status).await;
        }
    }

    /// Returns the routes of health checks and of reflection v1 and v1alpha, which older tools require.
    pub(crate) fn routes(&self) -> anyhow::Result<Routes> {
        let health = tonic_health::server::HealthService::from_health_reporter(self.reporter.clone());
        let reflect = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(parta_proto::DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        Ok(
            Routes::new(tonic_health::pb::health_server::HealthServer::new(health))
                .add_service(reflect().build_v1()?)
                .add_service(reflect().build_v1alpha()?),
        )
    }
}
