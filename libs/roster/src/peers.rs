//! The needs of contexts in units: which are archived, and in which of them pupils are peers
//! (F16, F17).
use std::collections::{BTreeMap, BTreeSet};

use parta_ids::{OrgId, TypedId, Uuid};
use parta_status::RpcError;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use crate::{
    MemberContext, Roster, Unit, UnitKind,
    entities::unit,
    label::grade_of,
    roster::{map_db_error, unit_of},
};

/// The first grade in which pupils may open personal chats with each other.
const PEER_GRADE: u8 = 5;

impl Roster {
    /// Adds to contexts what they need of the units: which are archived, and in which pupils are peers.
    pub(crate) async fn add_units(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        is_college: bool,
        facts: &mut BTreeMap<Uuid, MemberContext>,
    ) -> Result<(), RpcError> {
        let named: BTreeSet<Uuid> = facts
            .values()
            .flat_map(|facts| facts.named_units().map(TypedId::uuid))
            .collect();
        if named.is_empty() {
            return Ok(());
        }
        let (mut archived, mut peers) = (BTreeSet::new(), BTreeSet::new());
        let named: Vec<Uuid> = named.into_iter().collect();
        for chunk in named.chunks(5_000) {
            let rows = unit::Entity::find()
                .filter(unit::Column::OrgId.eq(org.uuid()))
                .filter(unit::Column::UnitId.is_in(chunk.iter().copied()))
                .all(conn)
                .await
                .map_err(map_db_error)?;
            for row in rows {
                let unit = unit_of(row)?;
                if unit.archived {
                    archived.insert(unit.unit_id);
                } else if unit.is_of_peers(is_college) {
                    peers.insert(unit.unit_id);
                }
            }
        }
        for facts in facts.values_mut() {
            facts.archived_units = facts
                .named_units()
                .filter(|unit| archived.contains(unit))
                .collect();
            facts.peer_units = facts.enrolled_in.intersection(&peers).copied().collect();
        }
        Ok(())
    }
}

impl Unit {
    /// Whether its pupils may open personal chats with each other: a class from grade 5, or a student
    /// group of a college, in which everybody is older (F16).
    fn is_of_peers(&self, is_college: bool) -> bool {
        match self.kind {
            UnitKind::Class => is_college || grade_of(&self.label).is_some_and(|grade| grade >= PEER_GRADE),
            UnitKind::Group => is_college,
            UnitKind::StaffRoom | UnitKind::Department | UnitKind::Unknown => false,
        }
    }
}
