//! The `symbolon` program.

/// Libraries' copies of messages are wiped, too.
#[global_allocator]
static ALLOCATOR: symbolon::secret::WipingAllocator = symbolon::secret::WIPING_ALLOCATOR;

fn main() -> symbolon::cli::Exit {
    symbolon::cli::main()
}
