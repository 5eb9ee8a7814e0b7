//! What a service keeps of organizations, units and people: one projection of the feeds of org-registry and membership
//! in the service's own database, and the [`MemberContext`] by which its policies decide.
//!
//! Invariants: the projection is moved in the transaction of the consumer's cursor; a question is refused while it is
//! stale or its organization is quarantined; a rebuilt projection equals the living one.

mod change;
mod entities;
mod label;
mod member_context;
mod members;
mod migrations;
mod organizations;
mod projection;
mod roster;

pub use change::{Change, NoObserver, RosterObserver};
pub use label::label_key;
pub use member_context::{Child, MemberContext, Policies, Role, State};
pub use members::Members;
pub use migrations::migrations;
pub use organizations::Organizations;
pub use parta_proto::parta::org_registry::v1::UnitKind;
pub use projection::{ConsumerNames, Projection};
pub use roster::{Organization, Roster, Unit};
