/// Defines the module of an entity without relations: `table!(entity, "table", { columns })`. The module may
/// have a visibility: `table!(pub(crate) unit, "roster_unit", { .. })`. The crate that calls it depends on
/// sea-orm.
///
/// ```ignore
/// table!(entity, "unit", {
///     #[sea_orm(primary_key, auto_increment = false)]
///     org_id: Uuid,
///     #[sea_orm(primary_key, auto_increment = false)]
///     unit_id: Uuid,
///     label: String,
/// });
/// ```
#[macro_export]
macro_rules! table {
    ($visibility:vis $module:ident, $name:literal, { $($(#[$meta:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $visibility mod $module {
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
