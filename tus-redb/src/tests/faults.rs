//! A disk that fails, or is full, at every call.

use super::harness::World;
use crate::{
    Durability,
    sim::{Crash, Fault},
};

fn fail_everywhere(durability: Durability, fault: Fault, how_many: u64) {
    let calls = {
        let mut world = World::new(durability);
        world.run_script();
        world.disk.calls()
    };
    for at in 0..calls {
        let context = format!("{durability:?}, {fault:?} at calls {at} to {}", at + how_many);
        let mut world = World::new(durability);
        world.disk.fail(at..at + how_many, fault);
        world.run_script();
        world.disk.heal();
        if world.store.is_none() {
            world.run_script();
        }
        world.check_works(&context);
        world.crash_and_check(Crash::Machine(at), &context);
    }
}

#[test]
fn strict_survives_one_failing_call() {
    fail_everywhere(Durability::Strict, Fault::Io, 1);
}

#[test]
fn strict_survives_a_sync_that_loses_what_it_had() {
    fail_everywhere(Durability::Strict, Fault::Evict, 1);
}

#[test]
fn strict_survives_a_disk_that_fails_for_a_while() {
    fail_everywhere(Durability::Strict, Fault::Io, 40);
}

#[test]
fn eventual_survives_one_failing_call() {
    fail_everywhere(Durability::Eventual, Fault::Io, 1);
}

#[test]
fn eventual_survives_a_sync_that_loses_what_it_had() {
    fail_everywhere(Durability::Eventual, Fault::Evict, 1);
}

#[test]
fn eventual_survives_a_disk_that_fails_for_a_while() {
    fail_everywhere(Durability::Eventual, Fault::Io, 40);
}

#[test]
fn space_may_run_out_for_a_call_or_for_a_while() {
    for durability in [Durability::Strict, Durability::Eventual] {
        fail_everywhere(durability, Fault::Full, 1);
        fail_everywhere(durability, Fault::Full, 60);
    }
}
