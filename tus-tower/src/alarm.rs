//! One timer for all deadlines of a request. Deadlines move with every piece of a body; the timer is set anew only if
//! one comes to lie before it, or if it fires too early.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::Sleep;
use tus_proto::Instant;

use crate::executor::Pool;

#[derive(Default)]
pub(crate) struct Alarm(Option<(Instant, Pin<Box<Sleep>>)>);

impl Alarm {
    /// Whether `next` has come; if not, the task is woken when it has.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        pool: &Pool,
        now: Instant,
        next: Option<Instant>,
    ) -> bool {
        let Some(next) = next else { return false };
        if next <= now {
            return true;
        }
        let sleep = || (next, Box::pin(tokio::time::sleep_until(pool.wake_at(next))));
        let (set, sleep) = self.0.get_or_insert_with(sleep);
        let mut late = next < *set;
        while late || sleep.as_mut().poll(cx) == Poll::Ready(()) {
            if !late && *set >= next {
                return true;
            }
            sleep.as_mut().reset(pool.wake_at(next));
            (*set, late) = (next, false);
        }
        false
    }
}
