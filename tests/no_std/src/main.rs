//! Proof that tus-proto needs neither std nor a C library: a program without both drives one PATCH from its
//! head to its response and exits with a status. It has a panic handler of its own, so that std anywhere in
//! its dependencies is a second one and fails the build.
//!
//! This crate alone may use unsafe code: a program without std must enter, allocate and exit by itself, and
//! Rust has no safe words for that. Nothing of it is part of what is released.
#![no_std]
#![no_main]

extern crate alloc;

mod machine;
mod scenario;

use core::panic::PanicInfo;

/// What the machine runs. The exit status is 0 if the PATCH went as it should; else it says which step did
/// not.
extern "C" fn enter() -> ! {
    machine::exit(match scenario::run() {
        Ok(()) => 0,
        Err(step) => step,
    })
}

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    machine::exit(101)
}
