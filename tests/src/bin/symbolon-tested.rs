//! The `symbolon` program once more: cargo builds a package's own programs before its tests, and not those of others.

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: symbolon::secret::WipingAllocator = symbolon::secret::WIPING_ALLOCATOR;

fn main() -> symbolon::cli::Exit {
    symbolon::cli::main()
}
