//! `cargo xtask bench`: builds what is measured, provides PostgreSQL and hands both to the bench; and the case `start`,
//! how long until it serves, how much memory it rests with, how large it is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bytes::{BufMut as _, Bytes, BytesMut};

use crate::{cargo, execute, free_port, root, servers::Servers};

/// What is to be measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Cases by name, `start` or `all`.
    #[arg(required = true)]
    cases: Vec<String>,
    /// On which database; both without it.
    #[arg(long, value_parser = ["postgres", "sqlite"])]
    db: Option<String>,
    /// Rounds that have to count, or starts to take the median of.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a side in a round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Entries of the longest chat of `history`.
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
    /// Servers of others to measure beside it, by name and comma: ejabberd, prosody, synapse.
    #[arg(long)]
    peers: Option<String>,
    /// Writes the table and the chart of docs/performance.md.
    #[arg(long)]
    write: bool,
    /// Folder for a flame graph of each side's servers, taken in one more round that counts for nothing else.
    #[arg(long)]
    flame: Option<PathBuf>,
    /// Another build of the suite to measure than that of this tree.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// Measures what is asked for.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let all = options.cases.iter().any(|case| case == "all");
    if all || options.cases.iter().any(|case| case == "start") {
        start(options.rounds)?;
    }
    let cases: Vec<_> = options.cases.iter().filter(|case| *case != "start").collect();
    if cases.is_empty() {
        return Ok(());
    }
    execute(cargo().args(["build", "--release", "-p", "parta", "-p", "parta-bench"]))?;
    let servers = Servers::provide()?;
    let mut bench = Command::new(release("parta-bench"));
    let program = options.program.clone().unwrap_or_else(|| release("parta"));
    bench.args(cases).arg("--program").arg(program);
    for (name, value) in [
        ("--rounds", options.rounds as u64),
        ("--seconds", options.seconds),
        ("--entries", options.entries),
    ] {
        bench.args([name, &value.to_string()]);
    }
    if let Some(database) = &options.db {
        bench.args(["--db", database]);
    }
    if let Some(peers) = &options.peers {
        bench.args(["--peers", peers]);
    }
    if options.write {
        bench.arg("--write").arg(root().join("docs"));
    }
    if let Some(folder) = &options.flame {
        fs::create_dir_all(folder)?;
        bench.arg("--flame").arg(folder);
    }
    bench.envs(servers.environment.iter().map(|(k, v)| (*k, v.as_str())));
    execute(&mut bench)
}

fn release(program: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("release").join(program)
}

/// A start that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Memory is read when it has not changed for this long.
const REST: Duration = Duration::from_secs(2);

struct Start {
    cold: Duration,
    warm: Duration,
    resting_kib: u64,
}

fn start(runs: usize) -> anyhow::Result<()> {
    execute(cargo().args(["build", "--release", "-p", "parta", "-p", "parta-bench"]))?;
    let binary = release("parta");
    let size = fs::metadata(&binary)
        .with_context(|| binary.display().to_string())?
        .len();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let starts = (0..runs.max(1))
        .map(|_| measure(&runtime, &binary))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let cold = median(starts.iter().map(|s| s.cold.as_secs_f64() * 1e3));
    let warm = median(starts.iter().map(|s| s.warm.as_secs_f64() * 1e3));
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    let (resting, size) = (
        median(starts.iter().map(|s| s.resting_kib as f64 / 1024.0)),
        size as f64 / 1_048_576.0,
    );
    let line = serde_json::json!({
        "bench": "start", "runs": starts.len(), "cold_start_ms": round(cold), "warm_start_ms": round(warm),
        "resting_rss_mib": round(resting), "binary_mib": round(size),
    });
    println!("{line}");
    println!("| median of {} | value |\n|---|---|", starts.len());
    println!("| start on an empty data folder, until SERVING | {cold:.0} ms |");
    println!("| start on that folder again, until SERVING | {warm:.0} ms |");
    println!("| resident memory at rest | {resting:.1} MiB |");
    println!("| size of the binary | {size:.1} MiB |");
    Ok(())
}

fn measure(runtime: &tokio::runtime::Runtime, binary: &Path) -> anyhow::Result<Start> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let (server, cold) = Server::start(runtime, binary, &data)?;
    drop(server);
    let (server, warm) = Server::start(runtime, binary, &data)?;
    Ok(Start {
        cold,
        warm,
        resting_kib: server.resting()?,
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
    /// Starts it and waits until its health says SERVING.
    fn start(
        runtime: &tokio::runtime::Runtime,
        binary: &Path,
        data: &Path,
    ) -> anyhow::Result<(Self, Duration)> {
        let port = free_port()?;
        let begin = Instant::now();
        let mut command = Command::new(binary);
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
            if runtime.block_on(serving(port)) {
                return Ok((server, begin.elapsed()));
            }
            if let Some(status) = server.0.try_wait()? {
                bail!("parta ended while it started: {status}");
            }
            if begin.elapsed() > PATIENCE {
                bail!("parta does not serve after {} s", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Resident memory once it has come to rest, in KiB.
    fn resting(&self) -> anyhow::Result<u64> {
        let begin = Instant::now();
        let (mut last, mut since) = (self.resident()?, Instant::now());
        while since.elapsed() < REST && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.resident()?;
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(last)
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

async fn serving(port: u16) -> bool {
    tokio::time::timeout(Duration::from_secs(2), health(port))
        .await
        .is_ok_and(|answer| answer.unwrap_or(false))
}

/// `grpc.health.v1.Health/Check` of the whole server. Both messages are small enough to be written by hand.
async fn health(port: u16) -> anyhow::Result<bool> {
    let socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let (client, connection) = h2::client::handshake(socket).await?;
    let ask = async {
        let mut client = client.ready().await?;
        let request = http::Request::post(format!("http://127.0.0.1:{port}/grpc.health.v1.Health/Check"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (response, mut body) = client.send_request(request, false)?;
        // One uncompressed message of no bytes: the request for the server as a whole.
        body.send_data(Bytes::from_static(&[0; 5]), true)?;
        let mut chunks = response.await?.into_body();
        let mut answer = BytesMut::new();
        while let Some(chunk) = chunks.data().await {
            answer.put(chunk?);
        }
        // Field 1, `status`, is 1: SERVING.
        Ok(answer.get(5..) == Some(&[0x08, 0x01]))
    };
    tokio::select! {
        answer = ask => answer,
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
