/// The names of the two consumers, which are the keys of their cursors: `<service>.<effect>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerNames {
    /// The consumer of org-registry, for example "chat.roster_organizations".
    pub organizations: &'static str,
    /// The consumer of membership, for example "chat.roster_members".
    pub members: &'static str,
}
