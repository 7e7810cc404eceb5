//! Has the binary built anew when the built console changes, which `src/console.rs` embeds.

fn main() {
    println!("cargo:rerun-if-changed=web/embed");
}
