//! Prints docs/permissions.md: what the policies of all services answer to every kind of principal.
#![expect(clippy::print_stdout, reason = "printing is its task")]

fn main() {
    print!("{}", parta_integration_tests::permissions::document());
}
