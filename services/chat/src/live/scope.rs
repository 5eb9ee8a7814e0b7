use std::collections::BTreeSet;

use parta_ids::OrgId;

/// The chats and members that a comparison covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    Organizations(BTreeSet<OrgId>),
}

impl Default for Scope {
    fn default() -> Self {
        Self::Organizations(BTreeSet::new())
    }
}

impl Scope {
    pub(super) fn contains(&self, org: &OrgId) -> bool {
        match self {
            Self::All => true,
            Self::Organizations(orgs) => orgs.contains(org),
        }
    }

    pub(super) fn extend(&mut self, more: Self) {
        match (&mut *self, more) {
            (Self::Organizations(orgs), Self::Organizations(more)) => orgs.extend(more),
            (_, Self::All) => *self = Self::All,
            (Self::All, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn requested_organizations_are_united() {
        let org = |n| OrgId::from_uuid(Uuid::from_u128(n));
        let mut scope = Scope::default();
        scope.extend(Scope::Organizations([org(1)].into()));
        scope.extend(Scope::Organizations([org(2)].into()));
        assert_eq!(scope, Scope::Organizations([org(1), org(2)].into()));
        scope.extend(Scope::All);
        scope.extend(Scope::Organizations([org(3)].into()));
        assert_eq!(scope, Scope::All);
    }
}
