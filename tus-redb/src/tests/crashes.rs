//! A crash at every call.

use super::harness::World;
use crate::{Durability, sim::Crash};

/// How many calls the script makes when nothing goes wrong.
fn calls(durability: Durability) -> u64 {
    let mut world = World::new(durability);
    world.run_script();
    world.disk.calls()
}

fn crash_everywhere(durability: Durability, crash: impl Fn(u64) -> Crash) {
    let calls = calls(durability);
    assert!(calls > 100, "the script does something: {calls}");
    for at in 0..calls {
        let mut world = World::new(durability);
        world.disk.write_short(at % 3 == 0);
        world.disk.die_at(at);
        world.run_script();
        let crash = crash(at);
        let context = format!("{durability:?}, {crash:?} at call {at}");
        world.crash_and_check(crash, &context);
        world.check_works(&context);
    }
}

#[test]
fn strict_loses_nothing_with_the_power() {
    crash_everywhere(Durability::Strict, Crash::Machine);
}

#[test]
fn strict_loses_nothing_with_the_process() {
    crash_everywhere(Durability::Strict, |_| Crash::Process);
}

#[test]
fn eventual_loses_nothing_with_the_process() {
    crash_everywhere(Durability::Eventual, |_| Crash::Process);
}

#[test]
fn eventual_falls_back_to_a_flush_at_most_with_the_power() {
    crash_everywhere(Durability::Eventual, |at| Crash::Machine(at ^ 0x5eed));
}

/// The process dies and is started again, and dies again while it starts; then the power goes.
#[test]
fn a_crash_while_opening_after_a_crash_is_a_crash() {
    for durability in [Durability::Strict, Durability::Eventual] {
        let calls = calls(durability);
        for at in (50..calls).step_by(23) {
            for again in (1..60).step_by(4) {
                let mut world = World::new(durability);
                world.disk.die_at(at);
                world.run_script();
                world.disk.crash(Crash::Process);
                world.store = None;
                world.disk.die_at(world.disk.calls() + again);
                world.open();
                let context = format!("{durability:?}, call {at}, then {again}");
                let crash = if again % 8 == 1 { Crash::Process } else { Crash::Machine(at * again) };
                world.crash_and_check(crash, &context);
            }
        }
    }
}
