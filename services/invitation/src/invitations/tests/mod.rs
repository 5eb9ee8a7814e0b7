mod bulk_revoking;
mod claiming;
mod inviting;
