//! The macro by which each feature defines the entity of its table.

/// Defines a private entity module: `table!(entity, "table", { columns })`.
macro_rules! table {
    ($module:ident, $name:literal, { $($(#[$meta:meta])* $field:ident: $type:ty),* $(,)? }) => {
        mod $module {
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
            #[sea_orm(table_name = $name)]
            pub struct Model {
                $($(#[$meta])* pub $field: $type,)*
            }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            impl ActiveModelBehavior for ActiveModel {}
        }
    };
}

pub(crate) use table;
