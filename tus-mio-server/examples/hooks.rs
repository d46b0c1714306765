//! A server that authorises its users, and copies what they have uploaded to a directory of theirs. Run it with
//! `cargo run --example hooks`, with another address after `--` if 127.0.0.1:8080 is taken. Then:
//!
//! ```sh
//! curl -i http://127.0.0.1:8080/files -X POST -H 'Tus-Resumable: 1.0.0' -H 'Authorization: Bearer sesame' \
//!      -H 'Upload-Length: 5' -H 'Content-Type: application/offset+octet-stream' --data-binary 'hello'
//! ```
#![allow(clippy::print_stdout)]

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::PathBuf,
    sync::Arc,
};

use tus_mio_server::{
    Server, Settings,
    hooks::{Changes, Creation, DataFile, HookError, Hooks, Incoming, Reject, Request, Upload},
};

/// An archive that keeps a copy of every finished upload in a directory of its owner's.
struct Archive {
    /// Names of users by their tokens.
    users: HashMap<String, String>,
    dir: PathBuf,
}

impl Archive {
    fn user(&self, request: &Request<'_>) -> Result<&str, HookError> {
        let token = request.header("Authorization").and_then(|value| value.strip_prefix("Bearer "));
        let user = token.and_then(|token| self.users.get(token));
        user.map(String::as_str).ok_or_else(|| {
            Reject::with(401).header("WWW-Authenticate", "Bearer").body("who are you?\n").into()
        })
    }

    /// Each user needs a token, sees only their own uploads, and can't concatenate others'.
    fn authorise(&self, incoming: &Incoming<'_>) -> Result<(), HookError> {
        let user = self.user(&incoming.request)?;
        let theirs = |upload: &Upload| upload.metadata.get_str("owner") == Some(user);
        if incoming.uploads().all(theirs) { Ok(()) } else { Err(Reject::with(404).into()) }
    }

    /// Writes the owner into the metadata, in place of what the client sent.
    fn sign(&self, creation: &Creation<'_>) -> Result<Changes, HookError> {
        let mut metadata = creation.upload.metadata.clone();
        metadata.set("owner", self.user(&creation.request)?)?;
        Ok(Changes::none().metadata(metadata))
    }

    /// Copies a finished upload. After a crash it is called again for the same upload: the copy is renamed when it is whole.
    fn keep(&self, upload: &Upload, files: &[DataFile]) -> Result<(), HookError> {
        let owner = upload.metadata.get_str("owner").ok_or_else(|| HookError::failed("it has no owner"))?;
        let dir = self.dir.join(owner);
        fs::create_dir_all(&dir)?;
        let (copy, part) = (dir.join(upload.id.as_str()), dir.join(format!("{}.part", upload.id)));
        let mut out = File::create(&part)?;
        for file in files {
            io::copy(&mut file.open()?, &mut out)?;
        }
        out.sync_all()?;
        fs::rename(&part, &copy)?;
        println!("{owner} has uploaded {}", copy.display());
        Ok(())
    }
}

fn main() -> Result<(), tus_mio_server::ServeError> {
    let users = HashMap::from([("sesame".to_owned(), "ali".to_owned())]);
    let archive = Arc::new(Archive { users, dir: "./archive".into() });
    let [authorises, signs, keeps] = [archive.clone(), archive.clone(), archive];
    let hooks = Hooks::new()
        .on_incoming_request(move |incoming| authorises.authorise(incoming))
        .on_upload_create(move |creation| signs.sign(creation))
        .on_upload_complete(move |upload, files| keeps.keep(upload, files));
    let mut settings = Settings { hooks, ..Settings::default() };
    if let Some(address) = std::env::args().nth(1).and_then(|text| text.parse().ok()) {
        settings.listen = vec![address];
    }
    let server = Server::bind(settings)?;
    let addresses: Vec<_> = server.addresses().iter().map(ToString::to_string).collect();
    println!("listening on {}", addresses.join(" "));
    server.run()
}
