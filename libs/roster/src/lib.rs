//! The projection of organizations, units and members that most services keep: one copy of the feeds of
//! org-registry and membership in the database of the service, and the [`MemberContext`] on which its
//! policies base decisions.
//!
//! Invariants: the projection and the cursor of its consumer change in one transaction; queries are refused
//! while the projection is stale or the organization is quarantined; a projection that was rebuilt from a
//! snapshot equals one that followed the feed; a role, state or kind of an event that this build does not
//! know is read the stricter way.
#![warn(missing_docs)]

mod administration;
mod begin_times;
mod change;
mod comparison;
mod consumer_names;
mod duties;
mod duty_rows;
mod entities;
mod event_runs;
mod ground_rows;
mod history;
mod label;
mod member_context;
mod member_rows;
mod members;
mod migrations;
mod organizations;
mod peers;
mod projection;
mod publish;
mod relation_rules;
mod relations;
mod roster;
mod staged_imports;
mod suspensions;
mod unit_grounds;
mod unit_kind;

#[cfg(test)]
mod tests;

pub use begin_times::{UnitGround, school_year_begin, school_year_end};
pub use change::{Change, NoObserver, Observers, RosterObserver};
pub use comparison::{Endings, Projected, Widened};
pub use consumer_names::ConsumerNames;
pub use duties::{Duty, DutyFunction, DutyKind, DutyScope};
pub use history::HistoryForNewcomers;
pub use label::{grade_of, label_key};
pub use member_context::{MemberContext, Policies, Role, State};
pub use members::Members;
pub use migrations::migrations;
pub use organizations::Organizations;
pub use projection::Projection;
pub use publish::{publish, publish_all};
pub use relations::{Child, LimitedChild, RelationKind, RelationLimit, RelationLimits};
pub use roster::{Organization, Roster, Unit};
pub use staged_imports::{CreateStaged, StagedImportJob, StagedImportObserver};
pub use unit_kind::UnitKind;
