/// Environment variable with the seed of a run to repeat.
pub const SEED: &str = "PARTA_TEST_SEED";

/// Reads a whole number from the environment.
pub fn number_from_env(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a whole number"),
        Err(_) => otherwise,
    }
}

/// SplitMix64. The same seed produces the same choices.
pub struct SeededRng(u64);

impl SeededRng {
    /// Creates a generator from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Creates the generator of one of several concurrent actors. Its choices do not depend on the speed of
    /// the others.
    pub fn for_actor(seed: u64, kind: &str, number: usize) -> Self {
        let mut own = Self(seed);
        for part in kind.bytes().map(u64::from).chain([number as u64]) {
            own.0 ^= part;
            own.0 = own.next();
        }
        own
    }

    #[expect(clippy::should_implement_trait, reason = "the generator never ends")]
    /// Returns the next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns a number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Returns true once in `times` calls on average.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Returns one of the items.
    pub fn choose<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// Returns a UUID that the same seed repeats. Used for the ids of planned requests.
    pub fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        uuid::Builder::from_random_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
            .into_uuid()
            .to_string()
    }
}
