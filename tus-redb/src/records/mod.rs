//! The records: what the database holds of each upload, how a group of changes is applied and made durable, and what
//! readers see of it meanwhile.

pub(crate) mod apply;
pub(crate) mod backend;
pub(crate) mod change;
pub(crate) mod codec;
pub(crate) mod commit;
pub(crate) mod concat;
pub(crate) mod database;
pub(crate) mod deferred;
pub(crate) mod journal;
pub(crate) mod log;
pub(crate) mod migration;
pub(crate) mod overlay;
pub(crate) mod record;
pub(crate) mod rollback;
pub(crate) mod view;
