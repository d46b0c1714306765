//! A driver as a [`Wire`].

use super::Drive;
use crate::{
    message::{Answer, Request},
    row::{End, Wire},
};

impl Wire for Drive {
    fn send(&mut self, request: &Request) -> Answer {
        let owner = self.start(request);
        Drive::answer(self, owner).unwrap_or_else(|| panic!("no answer to {request:?}"))
    }

    fn begin(&mut self, name: &'static str, request: &Request) {
        let owner = self.start(request);
        self.names.insert(name, owner);
    }

    fn break_off(&mut self, name: &'static str, request: &Request) {
        let owner = self.start_broken(request);
        self.names.insert(name, owner);
    }

    fn more(&mut self, name: &'static str, bytes: &[u8]) {
        self.arrive(self.names[name], bytes);
    }

    fn end(&mut self, name: &'static str, end: End) {
        self.ends(self.names[name], end);
    }

    fn answer(&mut self, name: &'static str) -> Answer {
        let owner = self.names[name];
        Drive::answer(self, owner).unwrap_or_else(|| panic!("no answer to {name}"))
    }

    fn may_lag(&self) -> bool {
        false
    }
}
