//! Lists the uploads of a store, with what is wrong with it: `inventory DIR`.
#![allow(clippy::print_stdout)]

use std::{error::Error, path::Path};

use tus_redb::{Options, Store, StoreError};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: inventory DIR")?;
    let store = Store::open_existing(Path::new(&dir), &Options::default())?;
    let mut after = None;
    loop {
        let page = store.list(after.as_ref(), 100).map_err(StoreError)?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        for record in page {
            match record.length {
                Some(length) => println!("{}  {} of {length} bytes", record.id, record.offset),
                None => println!("{}  {} bytes so far", record.id, record.offset),
            }
        }
    }
    for finding in store.verify().map_err(StoreError)? {
        println!("{finding}");
    }
    Ok(())
}
