//! Tasks of the developers: `cargo xtask verify | fix | codegen | interop | bench | kafka`.

fn main() {}
