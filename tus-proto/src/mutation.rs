//! Points at which a bug can be put in on purpose, to see that tests find it: `tests/mutations`. Not part of what
//! this crate offers.

/// `mutation!("name", right, wrong)` is the expression `right`. Only in a build with `--cfg mutations` it is `wrong`
/// where the environment variable `MUTATION` is that name.
#[cfg(not(mutations))]
#[macro_export]
#[doc(hidden)]
macro_rules! mutation {
    ($name:literal, $right:expr, $wrong:expr $(,)?) => {
        $right
    };
}

/// The same in a build for tests of the tests.
#[cfg(mutations)]
#[macro_export]
#[doc(hidden)]
macro_rules! mutation {
    ($name:literal, $right:expr, $wrong:expr $(,)?) => {
        if $crate::mutation::is_put_in($name) { $wrong } else { $right }
    };
}

#[cfg(mutations)]
extern crate std;

/// Whether `MUTATION` names this bug.
#[cfg(mutations)]
pub fn is_put_in(name: &str) -> bool {
    use std::{env, ffi::OsString, sync::OnceLock};

    static NAME: OnceLock<Option<OsString>> = OnceLock::new();
    NAME.get_or_init(|| env::var_os("MUTATION")).as_ref().is_some_and(|put_in| put_in == name)
}
