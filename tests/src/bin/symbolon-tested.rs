//! The `symbolon` program once more: cargo builds a package's own programs before its tests, and not those of others.

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: symbolon::allocator::Wiping = symbolon::allocator::Wiping;

fn main() -> symbolon::cli::Exit {
    symbolon::cli::main()
}
