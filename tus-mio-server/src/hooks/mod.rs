//! Hooks: what the people who run a server decide. Functions of a program that embeds the server are [`Hooks`]; programs and
//! HTTP services that speak tusd's protocol for hooks are [`External`].

pub use tus_driver::hooks::*;

mod external;

pub use external::{External, ExternalError, ExternalSettings, HookType, HttpSettings, Target};
