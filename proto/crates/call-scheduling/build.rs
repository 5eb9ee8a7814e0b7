//! Generates the package of call-scheduling.
fn main() -> Result<(), parta_proto_build::Error> {
    parta_proto_build::generate(&["call_scheduling"])
}
