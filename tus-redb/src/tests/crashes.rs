//! A crash at every call, where every upload has a file, and where small ones lie in the records.

use super::harness::World;
use crate::{Durability, sim::Crash};

/// Some of the scripts' uploads are smaller, some become larger.
pub(super) const SMALL_BYTES: [usize; 2] = [0, 1_000];

/// How many calls a script makes when nothing goes wrong.
fn calls(durability: Durability, inline_bytes: usize, script: fn(&mut World)) -> u64 {
    let mut world = World::new(durability, inline_bytes);
    script(&mut world);
    world.disk.calls()
}

fn crash_everywhere(durability: Durability, script: fn(&mut World), crash: impl Fn(u64) -> Crash) {
    for inline_bytes in SMALL_BYTES {
        let calls = calls(durability, inline_bytes, script);
        assert!(calls > 100, "the script does something: {calls}");
        for at in 0..calls {
            let mut world = World::new(durability, inline_bytes);
            world.disk.write_short(at % 3 == 0);
            world.disk.die_at(at);
            script(&mut world);
            let crash = crash(at);
            let context = format!("{durability:?}, {crash:?} at call {at}, small {inline_bytes}");
            world.crash_and_check(crash, &context);
            world.check_works(&context);
        }
    }
}

/// Parts and finals, made, waiting, completed, deleted. Each that is to be told of is told of with its bytes.
fn concatenate(world: &mut World) {
    world.open();
    if world.store.is_some() {
        script_of_finals(world);
    }
}

fn script_of_finals(world: &mut World) -> Option<()> {
    let pending = || Some(Vec::new());
    world.create_part("a", Some(5_000));
    world.create_part("b", None);
    world.create_part("c", Some(300));
    drop(world.patch("a", &[3_000], 0, None));
    world.finish("a", 2_000, |_, bytes| vec![("a", Some(bytes))])?;
    world.concat("f", &["a", "b", "a"], false, vec![("f", pending())]);
    world.concat("g", &["b", "c"], true, vec![("g", pending())]);
    world.flush();
    drop(world.patch("b", &[400], 0, None));
    world.finish("c", 300, |_, bytes| vec![("c", Some(bytes))])?;
    let (a, c) = (world.told("a")?, world.told("c")?);
    world.delete("c");
    let _ = world.store().reclaim(8);
    // One commit completes two finals, and takes the part away.
    world.finish("b", 200, |_, b| {
        vec![("f", Some([&a[..], &b, &a].concat())), ("g", Some([&b[..], &c].concat())), ("b", None)]
    })?;
    let _ = world.store().reclaim(8);
    world.create_part("d", Some(80));
    world.concat("i", &["a", "d"], false, vec![("i", pending())]);
    world.flush();
    world.concat("h", &["a"], true, vec![("h", Some(a)), ("a", None)]);
    world.delete_all("d", &["i"]);
    let _ = world.store().reclaim(8);
    world.delete("f");
    world.flush();
    let _ = world.store().reclaim(8);
    Some(())
}

#[test]
fn the_script_of_finals_comes_to_its_end() {
    for inline_bytes in SMALL_BYTES {
        let mut world = World::new(Durability::Strict, inline_bytes);
        world.open();
        assert_eq!(script_of_finals(&mut world), Some(()));
        let lens =
            ["a", "b", "c", "d", "f", "g", "h", "i"].map(|name| world.told(name).map(|body| body.len()));
        assert_eq!(lens, [None, None, None, None, None, Some(900), Some(5_000), None]);
        assert_eq!(world.store().finals_finished(), 2);
    }
}

#[test]
fn strict_keeps_finals_with_the_power() {
    crash_everywhere(Durability::Strict, concatenate, Crash::Machine);
}

#[test]
fn strict_keeps_finals_with_the_process() {
    crash_everywhere(Durability::Strict, concatenate, |_| Crash::Process);
}

#[test]
fn eventual_keeps_finals_with_the_process() {
    crash_everywhere(Durability::Eventual, concatenate, |_| Crash::Process);
}

#[test]
fn eventual_keeps_finals_and_parts_in_step_with_the_power() {
    crash_everywhere(Durability::Eventual, concatenate, |at| Crash::Machine(at ^ 0xf1a1));
}

#[test]
fn strict_loses_nothing_with_the_power() {
    crash_everywhere(Durability::Strict, World::run_script, Crash::Machine);
}

#[test]
fn strict_loses_nothing_with_the_process() {
    crash_everywhere(Durability::Strict, World::run_script, |_| Crash::Process);
}

#[test]
fn eventual_loses_nothing_with_the_process() {
    crash_everywhere(Durability::Eventual, World::run_script, |_| Crash::Process);
}

#[test]
fn eventual_falls_back_to_a_flush_at_most_with_the_power() {
    crash_everywhere(Durability::Eventual, World::run_script, |at| Crash::Machine(at ^ 0x5eed));
}

/// The process dies and is started again, and dies again while it starts; then the power goes.
#[test]
fn a_crash_while_opening_after_a_crash_is_a_crash() {
    for (durability, inline_bytes) in [(Durability::Strict, 0), (Durability::Eventual, 1_000)] {
        let calls = calls(durability, inline_bytes, World::run_script);
        for at in (50..calls).step_by(23) {
            for again in (1..60).step_by(4) {
                let mut world = World::new(durability, inline_bytes);
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
