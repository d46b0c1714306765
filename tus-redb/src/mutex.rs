//! Locking a mutex, for the whole crate.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex. Ignoring poison is safe: a panic leaves nothing half done that the next holder could not see in the records.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
