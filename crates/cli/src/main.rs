//! The one binary, `ottla`.

fn main() {}
