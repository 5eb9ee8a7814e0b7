mod bulk_revoking;
mod inviting;
