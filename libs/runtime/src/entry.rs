//! The entry points: all services in one process, and one standalone service.
use std::{path::Path, process::ExitCode, time::Duration};

use parta_ids::Env;
use parta_status::error_chain;

use crate::{
    ConfigArgs, Running, Service, Settings, Sources,
    config::Report,
    keys::Keys,
    panics,
    running::StopSignals,
    start::{Mode, Start, migrate_schema},
    telemetry,
};

/// Starts services in one process: each has its own database in the data folder unless configured otherwise,
/// keys are created at the first start, and all share one port. It initializes neither logging nor signal
/// handling, so that tests can call it.
pub async fn compose(services: &[Service], settings: &Settings) -> anyhow::Result<Running> {
    compose_with(services, settings, Env::system()).await
}

/// Does the same as [`compose`] with the clock and id source of the caller.
pub async fn compose_with(services: &[Service], settings: &Settings, env: Env) -> anyhow::Result<Running> {
    use_one_tls_provider();
    Start {
        services,
        settings,
        mode: Mode::Embedded,
        env,
    }
    .run()
    .await
}

/// Starts one service of a cluster. Its schema and keys must exist; it connects to the others by their
/// addresses.
pub async fn start_standalone(service: Service, settings: &Settings, env: Env) -> anyhow::Result<Running> {
    use_one_tls_provider();
    Start {
        services: &[service],
        settings,
        mode: Mode::Standalone,
        env,
    }
    .run()
    .await
}

/// Migrates the schema of one service and returns. It needs only the database of the service: no keys,
/// no bus and no other service. Run it before the new version is rolled out; a version that serves
/// meanwhile continues.
pub async fn migrate(service: Service, settings: &Settings, env: Env) -> anyhow::Result<()> {
    use_one_tls_provider();
    migrate_schema(&service, settings, Mode::Standalone, &env).await?;
    tracing::info!(service = service.name, "schema up to date");
    Ok(())
}

/// Creates the missing keys of all services in a folder, for standalone services, which find them mounted.
/// Existing keys are not changed.
pub fn make_keys(services: &[Service], folder: &Path, env: &Env) -> anyhow::Result<()> {
    Keys::open_or_make(folder, services, env).map(drop)
}

/// Runs `serve` for a process with all services, including configuration, logging and signal handling.
pub async fn serve_composed(services: &[Service], args: ConfigArgs) -> anyhow::Result<()> {
    serve_composed_with(services, args, |_, _| ()).await
}

/// Does the same as [`serve_composed`] and calls `ready` once when all services are serving.
pub async fn serve_composed_with(
    services: &[Service],
    args: ConfigArgs,
    ready: impl FnOnce(&Running, &Settings),
) -> anyhow::Result<()> {
    let (settings, telemetry) = set_up("parta", Sources::of_process(args).load(services)?)?;
    let served = async {
        let mut signals = StopSignals::listen()?;
        let running = tokio::select! {
            running = compose(services, &settings) => running?,
            () = signals.recv() => return Ok(()),
        };
        ready(&running, &settings);
        running.until(&mut signals).await
    }
    .await;
    end(served, telemetry).await
}

/// Runs `serve` for a process with one service of a cluster, including configuration, logging and signal
/// handling.
pub async fn serve_standalone(service: Service, args: ConfigArgs) -> anyhow::Result<()> {
    let (settings, telemetry) = set_up(service.name, Sources::of_process(args).load(&[service])?)?;
    let served = async {
        let mut signals = StopSignals::listen()?;
        let running = tokio::select! {
            running = start_standalone(service, &settings, Env::system()) => running?,
            () = signals.recv() => return Ok(()),
        };
        running.until(&mut signals).await
    }
    .await;
    end(served, telemetry).await
}

/// Runs [`migrate`] for a process, including configuration, logging and signal handling.
pub async fn migrate_standalone(service: Service, args: ConfigArgs) -> anyhow::Result<()> {
    let loaded = Sources::of_process(args).load_for_migration(&[service])?;
    let (settings, telemetry) = set_up(service.name, loaded)?;
    let migrated = async {
        let mut signals = StopSignals::listen()?;
        tokio::select! {
            migrated = migrate(service, &settings, Env::system()) => migrated,
            // Without a handler, the first process of a container is not ended by the signal.
            () = signals.recv() => anyhow::bail!("stopped by a signal: the schema may not be up to date"),
        }
    }
    .await;
    end(migrated, telemetry).await
}

/// Runs the future of a binary on a runtime and prints a failure in one line. From then on a panic of any
/// thread is logged without its message.
#[expect(clippy::print_stderr, reason = "logging may not be initialized when it fails")]
pub fn run(main: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    panics::install_hook();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let ended = runtime.block_on(main);
        // A lookup of a host name blocks its thread, and may do so for long when the network is lost.
        runtime.shutdown_timeout(Duration::from_secs(1));
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error_chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn set_up(
    name: &'static str,
    (settings, report): (Settings, Report),
) -> anyhow::Result<(Settings, telemetry::Telemetry)> {
    use_one_tls_provider();
    let telemetry = telemetry::init(name, &settings.log, &settings.telemetry)?;
    report.log();
    Ok((settings, telemetry))
}

async fn end(result: anyhow::Result<()>, telemetry: telemetry::Telemetry) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || telemetry.shutdown()).await?;
    result
}

/// Installs the TLS provider. Two providers are linked, so rustls cannot choose one; every entry point of
/// this crate calls this function. A provider that is already installed is kept.
pub fn use_one_tls_provider() {
    let _chosen = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
