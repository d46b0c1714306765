//! What the requests of one service share.

use std::sync::Arc;

use tus_proto::Config;

use crate::{
    Counters, Executor, Limits, Requests, Store,
    hooks::{Attributions, HookCalls},
};

pub(super) struct Shared<S: Store> {
    pub config: Arc<Config>,
    pub store: S,
    pub executor: Arc<dyn Executor>,
    pub requests: Arc<Requests<S>>,
    pub hooks: Option<HookCalls>,
    pub attributions: Arc<Attributions>,
    pub counters: Counters,
    pub limits: Limits,
}
