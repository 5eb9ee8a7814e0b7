//! Prints docs/permissions.md from the policies of all services.
#![expect(clippy::print_stdout, reason = "printing is its task")]

fn main() {
    print!("{}", parta_integration_tests::permissions::document());
}
