//! Generates the packages that all services share.
fn main() -> Result<(), parta_proto_build::Error> {
    parta_proto_build::generate(&["feed", "jobs", "options", "status"])
}
