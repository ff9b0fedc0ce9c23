//! The `symbolon` program.

fn main() -> symbolon::cli::Exit {
    symbolon::cli::main()
}
