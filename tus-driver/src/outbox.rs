//! Which events of the outbox are delivered when, written once for all runtimes: [`Schedule`] decides it, [`Delivery`]
//! calls the store and the hooks.
//!
//! The store keeps the order: it offers of each upload the first event alone, and that only when it is due. So little is
//! left to decide here: how many deliveries run at once, that no upload has two of them, and when to look again.
//! A delivery that failed is put off in the store, twice as long each time: a million events of a broken hook take no
//! memory here, and delay nobody else's.

mod delivery;
mod schedule;

pub use self::{
    delivery::{Delivery, DeliveryHandle, FilesOf, Turn},
    schedule::{Action, Pauses, Schedule, Settlement},
};
