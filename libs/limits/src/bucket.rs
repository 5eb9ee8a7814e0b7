use chrono::TimeDelta;

/// A bucket of `burst` tokens, which gets one token back in each interval. Its state is one time: when it
/// will be full again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// The number of tokens of a full bucket, at least 1.
    pub burst: u32,
    /// The time in which one token comes back.
    pub interval: TimeDelta,
}

impl Bucket {
    /// Returns a bucket of which a full hour gives `count` tokens, and of which `1 / share` of these can be
    /// taken at once, at least one. A `count` of 0 is 1.
    pub fn per_hour(count: u32, share: u32) -> Self {
        Self {
            burst: (count / share.max(1)).max(1),
            interval: TimeDelta::milliseconds(3_600_000 / i64::from(count.max(1))),
        }
    }

    pub(crate) fn interval_millis(self) -> i64 {
        self.interval.num_milliseconds()
    }

    /// The latest time of being full with which a token can still be taken now.
    pub(crate) fn latest_full_millis(self, now_millis: i64) -> i64 {
        now_millis + (i64::from(self.burst) - 1) * self.interval_millis()
    }

    /// Returns the time until there is a token. Not positive if there is one.
    pub(crate) fn wait(self, full_millis: i64, now_millis: i64) -> TimeDelta {
        TimeDelta::milliseconds(full_millis - self.latest_full_millis(now_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a token as the statement of storage does.
    fn take(bucket: Bucket, full: &mut i64, now: i64) -> bool {
        let taken = *full <= bucket.latest_full_millis(now);
        if taken {
            *full = (*full).max(now) + bucket.interval_millis();
        }
        taken
    }

    #[test]
    fn bucket_gives_its_burst_and_then_one_per_interval() {
        let resend = Bucket {
            burst: 1,
            interval: TimeDelta::seconds(60),
        };
        for bucket in [resend, Bucket::per_hour(600, 20), Bucket::per_hour(10_000, 4)] {
            let (mut full, mut now) = (0, 1_800_000_000_000);
            let taken = (0..=bucket.burst)
                .filter(|_| take(bucket, &mut full, now))
                .count();
            assert_eq!(u32::try_from(taken), Ok(bucket.burst), "{bucket:?}");
            assert_eq!(bucket.wait(full, now), bucket.interval, "{bucket:?}");
            now += bucket.interval_millis() - 1;
            assert!(!take(bucket, &mut full, now), "{bucket:?}");
            now += 1;
            assert!(
                take(bucket, &mut full, now) && !take(bucket, &mut full, now),
                "{bucket:?}"
            );
            now += i64::from(bucket.burst) * bucket.interval_millis();
            assert!(full <= now, "full again after the whole time: {bucket:?}");
        }
    }

    #[test]
    fn buckets_per_hour_never_are_empty_for_ever() {
        for (count, share, burst, millis) in [
            (600, 20, 30, 6_000),
            (1, 20, 1, 3_600_000),
            (0, 0, 1, 3_600_000),
            (3_600_000, 4, 900_000, 1),
        ] {
            let bucket = Bucket::per_hour(count, share);
            assert_eq!((bucket.burst, bucket.interval_millis()), (burst, millis));
        }
    }
}
