//! Says who we are on each request: by a header that holds a secret, or by a signature over all of it.

use reqwest::Request;
use reqwest::header::{AUTHORIZATION, HeaderMap};

use super::config::BuildError;

pub mod config;
mod header;
mod sigv4;

pub use self::sigv4::SignError;

use self::config::AuthConfig;
use self::header::Header;
use self::sigv4::Signer;

/// Ready to be put on requests; its Debug text shows no secret.
#[derive(Debug)]
pub struct Auth(Kind);

#[derive(Debug)]
enum Kind {
    /// Nothing to say.
    None,
    /// The same on each request.
    Header(Header),
    /// Another on each request.
    Signature(Box<Signer>),
}

impl Auth {
    /// Reads the file of the secret, if there is one. AWS credentials are loaded with the first
    /// request.
    ///
    /// # Errors
    /// The file cannot be read, or holds nothing that can be sent.
    pub fn build(config: &AuthConfig) -> Result<Self, BuildError> {
        Ok(Self(match config {
            AuthConfig::None => Kind::None,
            AuthConfig::Basic(basic) => Kind::Header(Header::basic(basic)?),
            AuthConfig::ApiKey(key) => Kind::Header(Header::api_key(key)?),
            AuthConfig::SigV4(config) => Kind::Signature(Box::new(Signer::new(config.clone()))),
        }))
    }

    /// Puts it on a request, last of all, when the body and headers are there.
    ///
    /// # Errors
    /// There are no AWS credentials.
    pub async fn authorize(&self, request: &mut Request) -> Result<(), SignError> {
        match &self.0 {
            Kind::None => Ok(()),
            Kind::Header(header) => {
                _ = request.headers_mut().insert(AUTHORIZATION, header.value());
                Ok(())
            }
            Kind::Signature(signer) => signer.sign(request).await,
        }
    }

    /// The server refused a request with these headers, by 401 or 403. Whether to send it once
    /// more, because the file of the secret holds another one by now.
    pub async fn is_renewed(&self, status: u16, sent: &HeaderMap) -> bool {
        match &self.0 {
            Kind::None => false,
            Kind::Header(header) => status == 401 && header.has_changed(sent.get(AUTHORIZATION)),
            Kind::Signature(signer) => {
                // Not at once: whoever reads the hold shall see that this was refused.
                signer.refused().await;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn auth(config: &str) -> Auth {
        let config: AuthConfig = toml::from_str(config).unwrap();
        let auth = Auth::build(&config).unwrap();
        assert!(!format!("{auth:?} {config:?}").contains("sesame"), "{auth:?} {config:?}");
        auth
    }

    async fn headers(auth: &Auth) -> HeaderMap {
        let mut request = Request::new(reqwest::Method::POST, "http://a".parse().unwrap());
        auth.authorize(&mut request).await.unwrap();
        request.headers().clone()
    }

    async fn header_of(config: &str) -> String {
        headers(&auth(config)).await[AUTHORIZATION].to_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_user_and_password_become_the_header_of_rfc_7617() {
        let inline = "basic = { user = 'Aladdin', password = 'open sesame' }";
        assert_eq!(header_of(inline).await, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"open sesame\r\n").unwrap();
        let path = file.path().display();
        let from_file = format!("basic = {{ user = 'Aladdin', password_file = '{path}' }}");
        assert_eq!(header_of(&from_file).await, header_of(inline).await);
    }

    #[tokio::test]
    async fn an_api_key_is_sent_in_base64_whichever_form_it_has() {
        let encoded = header_of("api_key = { key = 'aWQ6c2VzYW1l' }").await;
        assert_eq!(encoded, "ApiKey aWQ6c2VzYW1l");
        assert_eq!(header_of("api_key = { key = 'id:sesame' }").await, encoded);
    }

    #[tokio::test]
    async fn a_file_is_read_again_after_a_refusal_and_never_for_less() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "first").unwrap();
        let auth = auth(&format!("api_key = {{ key_file = '{}' }}", file.path().display()));
        std::fs::write(file.path(), "second").unwrap();
        let sent = headers(&auth).await;
        assert_eq!(sent[AUTHORIZATION], "ApiKey first");
        assert!(!auth.is_renewed(403, &sent).await);
        assert!(auth.is_renewed(401, &sent).await);
        assert_eq!(headers(&auth).await[AUTHORIZATION], "ApiKey second");
        // A request that was under way with the old one.
        assert!(auth.is_renewed(401, &sent).await);
        assert!(!auth.is_renewed(401, &headers(&auth).await).await);
        // A file that is being written is no reason to forget.
        std::fs::write(file.path(), "").unwrap();
        assert!(!auth.is_renewed(401, &headers(&auth).await).await);
        assert_eq!(headers(&auth).await[AUTHORIZATION], "ApiKey second");
    }

    #[test]
    fn a_file_without_a_secret_is_named() {
        let build = |config: &str| Auth::build(&toml::from_str(config).unwrap()).unwrap_err();
        let error = build("basic = { user = 'u', password_file = '/nowhere/password' }");
        assert!(error.to_string().contains("/nowhere/password"), "{error}");
        let error = build("api_key = { key_file = '/dev/null' }").to_string();
        assert!(error.contains("`key_file` /dev/null") && error.contains("empty"), "{error}");
        let error = build("api_key = { key = \"sesame\\n\" }").to_string();
        assert!(error.contains("API key") && !error.contains("sesame"), "{error}");
    }
}
