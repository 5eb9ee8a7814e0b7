//! Generates the package of org-registry.
fn main() -> Result<(), parta_proto_build::Error> {
    parta_proto_build::generate(&["org_registry"])
}
