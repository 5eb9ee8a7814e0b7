//! Logs on standard error; traces, metrics and logs to a collector if one is configured.
use std::{io::IsTerminal as _, time::Duration};

use opentelemetry::{KeyValue, global, trace::TracerProvider as _};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    logs::SdkLoggerProvider,
    metrics::SdkMeterProvider,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use parta_ids::Env;
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::{LogFormat, LogSettings, TelemetrySettings};

/// The exporters of this process. [`Telemetry::shutdown`] flushes them.
#[derive(Default)]
pub struct Telemetry {
    exporters: Option<(SdkTracerProvider, SdkMeterProvider, SdkLoggerProvider)>,
}

/// Initializes logging and the exporters of the process. Call it once, inside the Tokio runtime.
pub fn init(
    name: &'static str,
    log: &LogSettings,
    settings: &TelemetrySettings,
) -> anyhow::Result<Telemetry> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|e| anyhow::anyhow!("log.filter: {e}"))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match log.format {
        LogFormat::Text => lines
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let registry = tracing_subscriber::registry().with(filter).with(lines);
    let Some(endpoint) = &settings.otlp_endpoint else {
        registry.try_init()?;
        return Ok(Telemetry::default());
    };
    let resource = resource(name, std::env::var("HOSTNAME").ok(), &Env::system());
    let timeout = Duration::from_secs(5);
    let spans = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(timeout)
        .build()?;
    let metrics = MetricExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(timeout)
        .build()?;
    let logs = LogExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(timeout)
        .build()?;
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample_ratio)));
    let tracer = SdkTracerProvider::builder()
        .with_batch_exporter(spans)
        .with_sampler(sampler);
    let tracer = tracer.with_resource(resource.clone()).build();
    let meter = SdkMeterProvider::builder()
        .with_periodic_exporter(metrics)
        .with_resource(resource.clone())
        .build();
    let logger = SdkLoggerProvider::builder()
        .with_batch_exporter(logs)
        .with_resource(resource)
        .build();
    global::set_text_map_propagator(TraceContextPropagator::new());
    global::set_meter_provider(meter.clone());
    // The exporters use gRPC themselves. Exporting their own events would cause an endless loop.
    let outward =
        || EnvFilter::new("info,h2=off,hyper=off,tonic=off,tower=off,opentelemetry=off,reqwest=off");
    registry
        .with(
            tracing_opentelemetry::layer()
                .with_tracer(tracer.tracer("parta"))
                .with_filter(outward()),
        )
        .with(OpenTelemetryTracingBridge::new(&logger).with_filter(outward()))
        .try_init()?;
    Ok(Telemetry {
        exporters: Some((tracer, meter, logger)),
    })
}

/// Returns the attributes of this process. Each process has an id of its own. Without it, a collector would
/// count the replicas of a service as one. `host` is the name of the pod on Kubernetes.
fn resource(name: &'static str, host: Option<String>, env: &Env) -> Resource {
    let id = KeyValue::new("service.instance.id", env.ids.uuid().to_string());
    let host = host.map(|host| KeyValue::new("host.name", host));
    Resource::builder()
        .with_service_name(name)
        .with_attributes([id].into_iter().chain(host))
        .build()
}

impl Telemetry {
    /// Flushes the exporters. Blocks at most for the timeout of the collector, so call it outside the worker
    /// threads of the runtime.
    pub fn shutdown(self) {
        let Some((tracer, meter, logger)) = self.exporters else {
            return;
        };
        let ended = [tracer.shutdown(), meter.shutdown(), logger.shutdown()];
        for error in ended.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "telemetry flush failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::Key;

    use super::*;

    #[test]
    fn replicas_of_a_service_have_different_ids() {
        let of = |host: Option<&str>| resource("chat", host.map(str::to_owned), &Env::system());
        let get = |resource: &Resource, key: &'static str| {
            let value = resource.get(&Key::from_static_str(key));
            value.map(|value| value.to_string())
        };
        let (first, second) = (of(Some("chat-1")), of(None));
        for resource in [&first, &second] {
            assert_eq!(get(resource, "service.name").as_deref(), Some("chat"));
        }
        let id = "service.instance.id";
        assert!(get(&first, id).is_some());
        assert_ne!(get(&first, id), get(&second, id));
        assert_eq!(get(&first, "host.name").as_deref(), Some("chat-1"));
        assert_eq!(get(&second, "host.name"), None);
    }
}
