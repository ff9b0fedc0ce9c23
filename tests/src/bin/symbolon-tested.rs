//! The `symbolon` program once more: cargo builds a package's own programs before its tests, and not those of others.

fn main() -> symbolon::cli::Exit {
    symbolon::cli::main()
}
