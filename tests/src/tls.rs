//! A certificate of the tests' own, and who trusts it.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;
use tus_mio_server::TlsFiles;

/// A server's certificate in files.
#[derive(Debug)]
pub struct Identity {
    dir: TempDir,
    certificate: CertificateDer<'static>,
}

impl Identity {
    /// Makes one, for `localhost`.
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let certificate = make(&dir);
        Self { dir, certificate }
    }

    /// Replaces it by another one, in the same files.
    pub fn renew(&mut self) {
        self.certificate = make(&self.dir);
    }

    /// For a server's settings.
    pub fn files(&self) -> TlsFiles {
        TlsFiles { certificates: self.path("cert.pem"), key: self.path("key.pem") }
    }

    /// One of its files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A server with this certificate.
    pub fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from_pem_file(self.path("key.pem")).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Arc::new(builder.with_single_cert(vec![self.certificate.clone()], key).unwrap())
    }

    /// A client that trusts this certificate and no other.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}

fn make(dir: &TempDir) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.path().join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}
