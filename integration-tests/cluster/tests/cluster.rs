//! The tests of the cluster. `cargo xtask cluster` builds the images and runs them; `cargo xtask image` runs
//! the first one.
#![expect(clippy::print_stdout, reason = "`cargo xtask cluster` shows the measurements")]
use std::time::{Duration, Instant};

use parta_cluster_tests::{Cluster, Goals, Images, Load};
use tokio_util::task::TaskTracker;

/// Time limit of a test.
const DEADLINE: Duration = Duration::from_mins(15);

/// Runs a test. The client logs the faults that it meets.
fn run(body: impl Future<Output = ()>) {
    parta_testkit::run_for(DEADLINE, async {
        parta_testkit::logs().allow("no replica can be reached");
        body.await;
    });
}

/// The steps of the demo that found a school: it applies, the operator approves, the administrator signs in
/// with the code of an SMS and claims the right, and people join.
const FOUNDING: [&str; 4] = ["R1", "R2 R3", "R19", "R13 R22"];

async fn start(image: &str) -> Cluster {
    let cluster = report(Cluster::start(image)).await;
    assert!(cluster.is_reached(true).await, "clients reach the cluster");
    assert!(!cluster.is_reached(false).await, "clients verify the authority");
    cluster
}

async fn report(starting: impl Future<Output = Cluster>) -> Cluster {
    let began = Instant::now();
    let cluster = starting.await;
    println!(
        "cluster: all pods are ready after {:.1} s; from the start of a process to readiness, in ms: {:?}",
        began.elapsed().as_secs_f64(),
        cluster.starts()
    );
    cluster
}

async fn demo(cluster: &Cluster) {
    let began = Instant::now();
    let played = cluster.demo().await;
    let steps = played.len();
    assert!(steps >= 30, "{steps} steps");
    for requirements in FOUNDING {
        let shown = played.iter().any(|step| step.requirements == requirements);
        assert!(shown, "the demo shows {requirements}");
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("cluster: the demo passed from outside, {steps} steps in {seconds:.1} s");
}

#[test]
fn image_starts_as_the_chart_says() {
    run(async {
        let cluster = start(&Images::given().current).await;
        cluster.stop().await;
    });
}

/// The best of three starts counts, because other processes of the machine only make a start slower.
#[test]
fn image_meets_its_goals() {
    run(async {
        let (image, goals) = (Images::given().current, Goals::given());
        let (mut start_ms, mut memory_mib) = (u128::MAX, f64::MAX);
        for _ in 0..3 {
            let cluster = report(Cluster::start_single_node(&image)).await;
            start_ms = start_ms.min(cluster.starts()["parta"]);
            memory_mib = memory_mib.min(cluster.memory_at_rest("parta").await);
            cluster.stop().await;
        }
        println!(
            "cluster: the best start took {start_ms} ms, the least memory at rest was {memory_mib:.1} MiB"
        );
        assert!(
            start_ms < goals.start_ms,
            "{start_ms} ms are not less than {goals:?}"
        );
        assert!(
            memory_mib < goals.memory_mib,
            "{memory_mib} MiB are not less than {goals:?}"
        );
    });
}

#[test]
fn killed_single_node_loses_nothing() {
    run(async {
        let image = Images::given().current;
        let cluster = report(Cluster::start_single_node(&image)).await;
        let load = Load::start(cluster.suite(), &TaskTracker::new()).await;
        load.under("single node killed", cluster.kill("parta", &image))
            .await;
        load.check().await;
        cluster.stop().await;
    });
}

#[test]
fn demo_passes_and_a_killed_replica_loses_nothing() {
    run(async {
        let image = Images::given().current;
        let cluster = start(&image).await;
        demo(&cluster).await;
        let load = Load::start(cluster.suite(), &TaskTracker::new()).await;
        load.under("replica of chat killed", cluster.kill("chat", &image))
            .await;
        load.check().await;
        cluster.stop().await;
    });
}

#[test]
fn faults_lose_nothing() {
    run(async {
        let image = Images::given().current;
        let cluster = start(&image).await;
        let load = Load::start(cluster.suite(), &TaskTracker::new()).await;
        for service in ["chat", "membership"] {
            let name = |fault: &str| format!("replica of {service} {fault}");
            load.under(&name("killed"), cluster.kill(service, &image)).await;
            load.under(&name("paused"), cluster.pause(service, load.served()))
                .await;
            let served = load.served();
            load.under(&name("disconnected"), cluster.disconnect(service, served))
                .await;
        }
        load.under("NATS crashed", cluster.crash_nats()).await;
        let crash = async {
            let seconds = cluster.crash_postgresql().await;
            println!("cluster: PostgreSQL was away for {seconds:.1} s");
        };
        load.under("PostgreSQL crashed", crash).await;
        load.under("all pods replaced", cluster.replace_all(&image)).await;
        demo(&cluster).await;
        load.check().await;
        cluster.stop().await;
    });
}

#[test]
fn upgrade_and_rollback_lose_nothing() {
    run(async {
        let Images { current, upgraded } = Images::given();
        let upgraded = upgraded.unwrap();
        let cluster = start(&current).await;
        let load = Load::start(cluster.suite(), &TaskTracker::new()).await;
        let mixed = async {
            cluster.replace_one("chat", &upgraded).await;
            load.served().await;
        };
        load.under("one replica of chat upgraded", mixed).await;
        demo(&cluster).await;
        load.under("all pods upgraded", cluster.replace_all(&upgraded))
            .await;
        // The schema stays that of the newer version.
        load.under("one replica of chat rolled back", async {
            cluster.replace_one("chat", &current).await;
            load.served().await;
        })
        .await;
        load.under("all pods rolled back", cluster.replace_all(&current))
            .await;
        demo(&cluster).await;
        load.check().await;
        cluster.stop().await;
    });
}
