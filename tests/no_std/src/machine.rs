//! What std and the C library would have brought: an entry, an exit, an allocator, and the functions that
//! compiled code calls by name. For Linux on x86-64.

use core::{
    alloc::{GlobalAlloc, Layout},
    arch::{asm, naked_asm},
    cell::UnsafeCell,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Much more than one exchange needs.
const HEAP: usize = 1 << 20;

#[repr(align(64))]
struct Arena(UnsafeCell<[u8; HEAP]>);

// SAFETY: bytes of the arena are only handed out by `Bump`, each to one owner.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; HEAP]));

/// Hands out the arena from front to back and takes nothing back: the program ends soon.
struct Bump {
    next: AtomicUsize,
}

// SAFETY: every range handed out lies in the arena, is aligned as asked, and begins behind all that were
// handed out before, because `next` only rises.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = ARENA.0.get().cast::<u8>();
        let mut taken = core::ptr::null_mut();
        let _ = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
            let start = (base.addr() + next).next_multiple_of(layout.align()) - base.addr();
            let end = start.checked_add(layout.size()).filter(|end| *end <= HEAP)?;
            taken = base.wrapping_add(start);
            Some(end)
        });
        taken
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump = Bump { next: AtomicUsize::new(0) };

/// Ends the process.
pub(crate) fn exit(status: u8) -> ! {
    // SAFETY: exit_group (231) takes a status and does not return.
    unsafe { asm!("syscall", in("rax") 231, in("rdi") u64::from(status), options(noreturn, nostack)) }
}

/// Where the kernel enters, with an aligned stack and no return address on it.
///
/// # Safety
/// For the kernel alone, once.
// SAFETY: no other `_start` is linked, because there are no start files.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn _start() -> ! {
    // `call` leaves the stack as every function expects it.
    naked_asm!("xor ebp, ebp", "call {enter}", "ud2", enter = sym crate::enter)
}

/// # Safety
/// As in C.
// SAFETY: the name is the C library's, and it is not linked.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: the caller owns `len` bytes at both places. Instructions, not a loop: a loop would be compiled
    // to a call of this very function.
    unsafe { asm!("rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _) };
    to
}

/// # Safety
/// As in C.
// SAFETY: see `memcpy`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= len {
        // SAFETY: going forward overwrites nothing that is still to be read.
        return unsafe { memcpy(to, from, len) };
    }
    let (last_to, last_from) = (to.wrapping_add(len).wrapping_sub(1), from.wrapping_add(len).wrapping_sub(1));
    // SAFETY: see `memcpy`; from the last byte to the first, and the direction is put back.
    unsafe {
        asm!("std", "rep movsb", "cld",
            inout("rcx") len => _, inout("rdi") last_to => _, inout("rsi") last_from => _);
    }
    to
}

/// # Safety
/// As in C.
// SAFETY: see `memcpy`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
    // SAFETY: see `memcpy`.
    unsafe { asm!("rep stosb", inout("rcx") len => _, inout("rdi") to => _, in("eax") byte) };
    to
}

/// # Safety
/// As in C.
// SAFETY: see `memcpy`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, len: usize) -> i32 {
    for at in 0..len {
        // SAFETY: the caller owns `len` bytes at both places. Volatile, so that the loop stays a loop.
        let (a, b) = unsafe { (one.add(at).read_volatile(), other.add(at).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// # Safety
/// As in C.
// SAFETY: see `memcpy`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, len: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(one, other, len) }
}

/// The precompiled `core` and `alloc` name these two; with panic=abort nothing calls them.
// SAFETY: the names are those of the unwinder, which is not linked.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() -> ! {
    exit(102)
}

/// See [`rust_eh_personality`].
// SAFETY: see there.
#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_Resume() -> ! {
    exit(102)
}
