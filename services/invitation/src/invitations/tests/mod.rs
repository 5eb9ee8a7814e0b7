mod bulk_revoking;
mod claiming;
mod commuting;
mod inviting;
