//! The `symbolon` program.

fn main() {}
