//! The `symbolon` program.

/// Libraries' copies of messages are wiped, too.
#[global_allocator]
static ALLOCATOR: symbolon::allocator::Wiping = symbolon::allocator::Wiping;

fn main() -> symbolon::cli::Exit {
    symbolon::cli::main()
}
