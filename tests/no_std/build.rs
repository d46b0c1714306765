//! Links the program without the start files, the C library and everything else that std would need.

fn main() {
    // Nothing relocates a program that has no start files: it is linked to a fixed address.
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
