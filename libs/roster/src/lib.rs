//! The projection of organizations, units and members that most services keep: one copy of the feeds of
//! org-registry and membership in the database of the service, and the [`MemberContext`] on which its
//! policies base decisions.
//!
//! Invariants: the projection advances in the transaction of the consumer's cursor; queries are refused while
//! the projection is stale or the organization is quarantined; a rebuilt projection equals the live one.

mod change;
mod consumer_names;
mod entities;
mod label;
mod member_context;
mod members;
mod migrations;
mod organizations;
mod projection;
mod roster;

pub use change::{Change, NoObserver, RosterObserver};
pub use consumer_names::ConsumerNames;
pub use label::label_key;
pub use member_context::{Child, MemberContext, Policies, Role, State};
pub use members::Members;
pub use migrations::migrations;
pub use organizations::Organizations;
pub use parta_proto::parta::org_registry::v1::UnitKind;
pub use projection::Projection;
pub use roster::{Organization, Roster, Unit};
