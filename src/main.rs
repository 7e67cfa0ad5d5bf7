//! The `logweir` binary.

fn main() {}
