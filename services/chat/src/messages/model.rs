/// At most this many characters in a message.
pub(crate) const TEXT_MAX: usize = 4_000;
