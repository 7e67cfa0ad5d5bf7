//! Says who we are on each request. One enum, so that a signature over the request fits in later.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Request;
use reqwest::header::{AUTHORIZATION, HeaderValue};

use super::config::{AuthConfig, BasicConfig, BuildError, Password};

/// Ready to be put on requests; its Debug text shows no secret.
#[derive(Debug)]
pub enum Auth {
    /// Nothing to say.
    None,
    /// The finished header.
    Basic(HeaderValue),
}

impl Auth {
    /// Reads the password file, if there is one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn build(config: &AuthConfig) -> Result<Self, BuildError> {
        match config {
            AuthConfig::None => Ok(Self::None),
            AuthConfig::Basic(basic) => Ok(Self::Basic(basic_header(basic)?)),
        }
    }

    /// Puts it on a request, last of all, when the body and headers are there.
    pub fn authorize(&self, request: &mut Request) {
        match self {
            Self::None => {}
            Self::Basic(header) => {
                _ = request.headers_mut().insert(AUTHORIZATION, header.clone());
            }
        }
    }
}

fn basic_header(config: &BasicConfig) -> Result<HeaderValue, BuildError> {
    let read;
    let password = match &config.password {
        Password::Inline(secret) => secret.expose(),
        Password::File(path) => {
            read = fs::read_to_string(path)
                .map_err(|source| BuildError::ReadPassword { path: path.clone(), source })?;
            read.lines().next().unwrap_or_default()
        }
    };
    let credentials = STANDARD.encode(format!("{}:{password}", config.user));
    #[expect(clippy::expect_used, reason = "base64 is visible ASCII, which a header always takes")]
    let mut header = HeaderValue::from_str(&format!("Basic {credentials}")).expect("ASCII");
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn header_of(config: &str) -> String {
        let config: AuthConfig = toml::from_str(config).unwrap();
        let mut request = Request::new(reqwest::Method::POST, "http://a".parse().unwrap());
        let auth = Auth::build(&config).unwrap();
        auth.authorize(&mut request);
        assert!(!format!("{auth:?} {config:?}").contains("sesame"));
        request.headers()[AUTHORIZATION].to_str().unwrap().to_owned()
    }

    #[test]
    fn a_user_and_password_become_the_header_of_rfc_7617() {
        let inline = "basic = { user = 'Aladdin', password = 'open sesame' }";
        assert_eq!(header_of(inline), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"open sesame\r\n").unwrap();
        let path = file.path().display();
        let from_file = format!("basic = {{ user = 'Aladdin', password_file = '{path}' }}");
        assert_eq!(header_of(&from_file), header_of(inline));
    }

    #[test]
    fn a_missing_password_file_is_named() {
        let config = "basic = { user = 'u', password_file = '/nowhere/password' }";
        let error = Auth::build(&toml::from_str(config).unwrap()).unwrap_err();
        assert!(error.to_string().contains("/nowhere/password"), "{error}");
    }
}
