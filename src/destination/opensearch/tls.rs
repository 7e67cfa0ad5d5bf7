//! What TLS needs from files: whom we trust, and a certificate of our own.

use std::fs;
use std::path::Path;

use reqwest::{Certificate, ClientBuilder, Identity};

use super::config::{BuildError, ClientCertificate, NodeUrl, OpenSearchConfig};

/// Lays the certificates of the configuration over a client.
///
/// # Errors
/// A file cannot be read or used.
pub(super) fn set_up(
    client: ClientBuilder,
    config: &OpenSearchConfig,
) -> Result<ClientBuilder, BuildError> {
    let trusted = trusted(config)?;
    let client = if config.urls.iter().all(NodeUrl::is_plain) {
        // Without TLS an image without certificates is good enough.
        client.tls_certs_only(trusted)
    } else {
        client.tls_certs_merge(trusted)
    };
    match &config.client_certificate {
        Some(own) => Ok(client.identity(identity(own)?)),
        None => Ok(client),
    }
}

fn trusted(config: &OpenSearchConfig) -> Result<Vec<Certificate>, BuildError> {
    let Some(path) = &config.ca_file else { return Ok(Vec::new()) };
    match Certificate::from_pem_bundle(&read("ca_file", path)?) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => Err(BuildError::NoCertificates { path: path.clone() }),
    }
}

fn identity(own: &ClientCertificate) -> Result<Identity, BuildError> {
    let mut pem = read("client_key_file", &own.key)?;
    // Whatever ended the file, the next part begins on a line of its own.
    pem.push(b'\n');
    pem.extend(read("client_cert_file", &own.certificate)?);
    // The reason may quote what is in the files.
    Identity::from_pem(&pem).map_err(|_| BuildError::ClientCertificate {
        certificate: own.certificate.clone(),
        key: own.key.clone(),
    })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, BuildError> {
    fs::read(path).map_err(|source| BuildError::Read { key, path: path.to_owned(), source })
}
