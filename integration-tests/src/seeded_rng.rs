/// ConsumerNames the seed of a run that is to be repeated.
pub const SEED: &str = "PARTA_TEST_SEED";

/// A whole number of the environment.
pub fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a whole number"),
        Err(_) => otherwise,
    }
}

/// SplitMix64: the same seed makes the same choices.
pub struct Chance(u64);

impl Chance {
    /// Choices by a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Choices of one of many who choose at the same time: none of them depends on how fast the others are.
    pub fn of_actor(seed: u64, kind: &str, number: usize) -> Self {
        let mut own = Self(seed);
        for part in kind.bytes().map(u64::from).chain([number as u64]) {
            own.0 ^= part;
            own.0 = own.next();
        }
        own
    }

    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below a limit.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Whether one of so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of them.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A UUID; the same seed repeats it, which is wanted of ids that stand for planned acts.
    pub fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        uuid::Builder::from_random_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
            .into_uuid()
            .to_string()
    }
}
