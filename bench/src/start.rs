//! The case `start`: time until the server is SERVING, memory at rest, size of the program.

use std::{
    ffi::OsString,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bytes::{BufMut as _, Bytes, BytesMut};
use clap::Parser;

/// The options of the case.
#[derive(Parser)]
#[command(name = "parta-bench start")]
struct Options {
    /// The program of the server.
    #[arg(long)]
    program: PathBuf,
    /// Number of starts to take the median of.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// A start that takes longer counts as failed.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The server is at rest when its memory has not changed for this long.
const AT_REST_AFTER: Duration = Duration::from_secs(2);

struct Start {
    cold: Duration,
    warm: Duration,
    memory_at_rest_kib: u64,
}

/// Measures the starts and prints the medians as one line of JSON and as a table.
pub(crate) async fn run(arguments: Vec<OsString>) -> anyhow::Result<()> {
    let Options { program, rounds } = Options::parse_from(arguments);
    let size = fs::metadata(&program)
        .with_context(|| program.display().to_string())?
        .len();
    let mut starts = Vec::new();
    for _ in 0..rounds.max(1) {
        starts.push(measure(&program).await?);
    }
    let cold = median(starts.iter().map(|s| s.cold.as_secs_f64() * 1e3));
    let warm = median(starts.iter().map(|s| s.warm.as_secs_f64() * 1e3));
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    let (memory_at_rest, size) = (
        median(starts.iter().map(|s| s.memory_at_rest_kib as f64 / 1024.0)),
        size as f64 / 1_048_576.0,
    );
    let line = serde_json::json!({
        "bench": "start", "runs": starts.len(), "cold_start_ms": round(cold), "warm_start_ms": round(warm),
        "resting_rss_mib": round(memory_at_rest), "binary_mib": round(size),
    });
    println!("{line}");
    println!("| median of {} | value |\n|---|---|", starts.len());
    println!("| start on an empty data folder, until SERVING | {cold:.0} ms |");
    println!("| start on that folder again, until SERVING | {warm:.0} ms |");
    println!("| resident memory at rest | {memory_at_rest:.1} MiB |");
    println!("| size of the binary | {size:.1} MiB |");
    Ok(())
}

async fn measure(program: &Path) -> anyhow::Result<Start> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let (server, cold) = Server::start(program, &data).await?;
    drop(server);
    let (server, warm) = Server::start(program, &data).await?;
    Ok(Start {
        cold,
        warm,
        memory_at_rest_kib: server.memory_at_rest().await?,
    })
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Starts the server and waits until its health is SERVING.
    async fn start(program: &Path, data: &Path) -> anyhow::Result<(Self, Duration)> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let begin = Instant::now();
        let mut command = Command::new(program);
        command
            .arg("serve")
            .args(["--set", &format!("server.listen=127.0.0.1:{port}")]);
        command.args([
            "--set",
            &format!("data.folder={}", data.display()),
            "--set",
            "log.filter=error",
        ]);
        command.stdout(Stdio::null());
        let mut server = Self(command.spawn().context("parta cannot be started")?);
        loop {
            if is_serving(port).await {
                return Ok((server, begin.elapsed()));
            }
            if let Some(status) = server.0.try_wait()? {
                bail!("parta ended during its start: {status}");
            }
            if begin.elapsed() > START_TIMEOUT {
                bail!("parta is not SERVING after {} s", START_TIMEOUT.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until the memory is stable and returns the resident memory in KiB.
    async fn memory_at_rest(&self) -> anyhow::Result<u64> {
        let begin = Instant::now();
        let (mut previous, mut since) = (self.resident()?, Instant::now());
        while since.elapsed() < AT_REST_AFTER && begin.elapsed() < START_TIMEOUT {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = self.resident()?;
            if now != previous {
                (previous, since) = (now, Instant::now());
            }
        }
        Ok(previous)
    }

    fn resident(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
    }
}

async fn is_serving(port: u16) -> bool {
    tokio::time::timeout(Duration::from_secs(2), health(port))
        .await
        .is_ok_and(|response| response.unwrap_or(false))
}

/// Calls `grpc.health.v1.Health/Check` for the whole server with h2 only, because the retries and connection
/// pools of a client would affect the measurement. Both messages are encoded by hand.
async fn health(port: u16) -> anyhow::Result<bool> {
    let socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let (client, connection) = h2::client::handshake(socket).await?;
    let check = async {
        let mut client = client.ready().await?;
        let request = http::Request::post(format!("http://127.0.0.1:{port}/grpc.health.v1.Health/Check"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (response, mut body) = client.send_request(request, false)?;
        // One uncompressed message of zero bytes: the request for the whole server.
        body.send_data(Bytes::from_static(&[0; 5]), true)?;
        let mut chunks = response.await?.into_body();
        let mut response = BytesMut::new();
        while let Some(chunk) = chunks.data().await {
            response.put(chunk?);
        }
        // Field 1, `status`, is 1: SERVING.
        Ok(response.get(5..) == Some(&[0x08, 0x01]))
    };
    tokio::select! {
        response = check => response,
        ended = connection => match ended {
            Ok(()) => bail!("the connection ended"),
            Err(error) => Err(error.into()),
        },
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
