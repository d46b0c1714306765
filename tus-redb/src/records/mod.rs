//! The records as they lie in the database and as readers see them: rows, tables, the file that redb writes. What a change does
//! to them is in `tables/`.

pub(crate) mod backend;
pub(crate) mod copy;
pub(crate) mod database;
pub(crate) mod deferred;
pub(crate) mod overlay;
pub(crate) mod record;
pub(crate) mod record_codec;
pub(crate) mod view;
