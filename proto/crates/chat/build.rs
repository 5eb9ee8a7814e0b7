//! Generates the package of chat.
fn main() -> Result<(), parta_proto_build::Error> {
    parta_proto_build::generate(&["chat"])
}
