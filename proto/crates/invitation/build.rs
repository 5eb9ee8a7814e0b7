//! Generates the package of invitation.
fn main() -> Result<(), parta_proto_build::Error> {
    parta_proto_build::generate(&["invitation"])
}
