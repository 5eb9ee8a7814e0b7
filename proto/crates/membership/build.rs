//! Generates the package of membership.
fn main() -> Result<(), parta_proto_build::Error> {
    parta_proto_build::generate(&["membership"])
}
