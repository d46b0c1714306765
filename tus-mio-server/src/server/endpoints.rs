//! Where administration is to be had: the addresses of its own, and the socket in the data directory.

use super::{error::ServeError, settings::Settings};
use crate::{
    admin::{Endpoint, Guard, SOCKET, Token},
    listen::{Address, Listener},
};

/// The listeners for metrics, health and administration, but for the socket in the data directory.
pub(super) fn admin_endpoints(settings: &Settings) -> Result<Vec<Endpoint>, ServeError> {
    let token =
        settings.admin_token_file.as_deref().map(Token::load).transpose().map_err(ServeError::AdminToken)?;
    let endpoint = |address: &Address| {
        let failed = |error| ServeError::Listen(address.clone(), error);
        let listener = Listener::bind(address, &settings.admin_listen).map_err(failed)?;
        let guard = match (&token, address) {
            (Some(token), _) => Guard::Token(token.clone()),
            (None, Address::Tcp(_)) => Guard::Local,
            (None, Address::Unix(_)) => Guard::File,
        };
        Ok(Endpoint { listener, guard })
    };
    settings.admin_listen.iter().map(endpoint).collect()
}

/// The socket in the data directory. A file system that has no sockets keeps nobody from uploading.
pub(super) fn admin_socket(settings: &Settings) -> Option<Endpoint> {
    match Listener::bind_private(&settings.data_dir.join(SOCKET)) {
        Ok(listener) => Some(Endpoint { listener, guard: Guard::File }),
        Err(error) => {
            let dir = settings.data_dir.display();
            tracing::warn!(%error, %dir, "there is no socket in the data directory: commands can't ask this server");
            None
        }
    }
}
