//! The time that each part of `cargo xtask ci` takes.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::ensure;

/// A run should take less, so that the checks stay fast enough to be used.
const GOAL: Duration = Duration::from_secs(45 * 60);
/// A run that takes longer fails. One machine took 27 minutes for a run, and on another day 47 for hardly
/// more tests, so that the goal alone would refuse changes for the speed of the machine.
const LIMIT: Duration = Duration::from_secs(70 * 60);

/// The finished parts with their durations, in order.
#[derive(Default)]
pub(crate) struct Elapsed(Vec<(&'static str, Duration)>);

impl Elapsed {
    /// Runs a part and records its duration, also if it fails.
    pub(crate) fn part<T>(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        println!("xtask: == {name}");
        let begin = Instant::now();
        let outcome = work();
        self.0.push((name, begin.elapsed()));
        outcome
    }

    /// Fails if the parts together took longer than the limit.
    pub(crate) fn within_limit(&self) -> anyhow::Result<()> {
        let total = self.total();
        ensure!(
            total <= LIMIT,
            "the checks took {} s, the limit is {} s",
            total.as_secs(),
            LIMIT.as_secs()
        );
        Ok(())
    }

    /// A note for the end of the run if it took longer than the goal.
    pub(crate) fn beyond_goal(&self) -> Option<String> {
        let (total, goal) = (self.total().as_secs(), GOAL.as_secs());
        (total > goal).then(|| format!("the checks took {total} s, the goal is {goal} s"))
    }

    fn total(&self) -> Duration {
        self.0.iter().map(|(_, duration)| *duration).sum()
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, duration) in &self.0 {
            writeln!(f, "xtask: {:>7.1} {name}", duration.as_secs_f64())?;
        }
        write!(f, "xtask: {:>7.1} total, in seconds", self.total().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn failed_part_is_in_the_table() {
        let mut elapsed = Elapsed::default();
        let failed = elapsed.part("tests", || -> anyhow::Result<()> { bail!("red") });
        assert!(failed.is_err());
        assert!(elapsed.to_string().contains(" tests\n"), "{elapsed}");
    }

    #[test]
    fn run_fails_after_more_than_70_minutes() {
        let minutes = |minutes: u64| {
            Elapsed(vec![
                ("a", Duration::from_secs(60)),
                ("b", Duration::from_secs(60 * minutes)),
            ])
        };
        assert!(minutes(69).within_limit().is_ok());
        let error = minutes(70).within_limit().unwrap_err();
        assert_eq!(error.to_string(), "the checks took 4260 s, the limit is 4200 s");
        assert_eq!(minutes(44).beyond_goal(), None);
        let note = minutes(45).beyond_goal();
        assert_eq!(
            note.as_deref(),
            Some("the checks took 2760 s, the goal is 2700 s")
        );
        assert!(
            minutes(44)
                .to_string()
                .ends_with("xtask:  2700.0 total, in seconds")
        );
    }
}
