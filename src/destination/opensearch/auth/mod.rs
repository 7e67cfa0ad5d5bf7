//! Says who we are on each request: by a header that holds a secret, or by a signature over all of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use reqwest::Request;
use reqwest::header::{AUTHORIZATION, HeaderMap};

use crate::secret;

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

/// Takes out of an answer what it repeats of the secrets that the request came with. A proxy may be set to
/// show what it was sent, and AWS shows the token of temporary credentials where a signature is wrong.
pub fn conceal(sent: &HeaderMap, answer: &mut Vec<u8>) {
    for secret in secrets(sent) {
        let (mut kept, mut from) = (Vec::new(), 0);
        for at in memmem::find_iter(answer, &secret) {
            kept.extend_from_slice(answer.get(from..at).unwrap_or_default());
            kept.extend_from_slice(secret::SHOWN.as_bytes());
            from = at + secret.len();
        }
        if from > 0 {
            kept.extend_from_slice(answer.get(from..).unwrap_or_default());
            *answer = kept;
        }
    }
}

/// As they are in headers, in JSON, and for a password as it is typed.
fn secrets(sent: &HeaderMap) -> Vec<Vec<u8>> {
    let token = sent.get("x-amz-security-token").and_then(|token| token.to_str().ok());
    let value = sent.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let credential = value.and_then(|value| match value.split_once(' ')? {
        ("Basic" | "ApiKey", credential) => Some(credential),
        // A signature of this one request.
        _ => None,
    });
    let plain = credential.and_then(|credential| STANDARD.decode(credential).ok());
    let password = plain.and_then(|plain| {
        let colon = memchr::memchr(b':', &plain)?;
        plain.get(colon + 1..).map(<[u8]>::to_vec)
    });
    let sent = token.into_iter().chain(credential);
    let escaped =
        sent.clone().filter(|text| text.contains('/')).map(|text| text.replace('/', "\\/"));
    sent.map(str::to_owned)
        .chain(escaped)
        .map(String::into_bytes)
        .chain(password)
        .filter(|secret| is_no_word(secret))
        .collect()
}

/// Whether the secret can be no part of what an engine says by itself, by which it is judged: no word, no
/// name of an error, no number.
fn is_no_word(secret: &[u8]) -> bool {
    let is_of_words = |byte: &u8| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-' | b' ');
    let is_short = secret.len() < 6;
    !is_short && !secret.iter().all(is_of_words) && !secret.iter().all(u8::is_ascii_digit)
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

    #[tokio::test]
    async fn what_an_answer_repeats_of_a_secret_is_taken_out() {
        let said = async |config: &str, answer: &str| {
            let mut answer = answer.as_bytes().to_vec();
            conceal(&headers(&auth(config)).await, &mut answer);
            String::from_utf8(answer).unwrap()
        };
        let basic = "basic = { user = 'Aladdin', password = '0pen sesame?' }";
        assert_eq!(header_of(basic).await, "Basic QWxhZGRpbjowcGVuIHNlc2FtZT8=");
        let answer = r#"{"a":"Basic QWxhZGRpbjowcGVuIHNlc2FtZT8=","b":"Aladdin, 0pen sesame? 0pen sesame?"}"#;
        let concealed = r#"{"a":"Basic [secret]","b":"Aladdin, [secret] [secret]"}"#;
        assert_eq!(said(basic, answer).await, concealed);
        let key = "api_key = { key = 'c2VzYW1l/3+/' }";
        assert_eq!(said(key, r"c2VzYW1l/3+/ c2VzYW1l\/3+\/").await, "[secret] [secret]");
        // By these words an answer is judged.
        for word in ["sesame_exception", "20251124", "Esel"] {
            let config = format!("basic = {{ user = 'u', password = '{word}' }}");
            assert_eq!(said(&config, word).await, word);
        }
        assert_eq!(said("api_key = { key = 'a' }", "a mapping").await, "a mapping");
        let token = HeaderMap::from_iter([(
            "x-amz-security-token".parse().unwrap(),
            "t0ken/".parse().unwrap(),
        )]);
        let mut answer = b"x-amz-security-token:t0ken/\n".to_vec();
        conceal(&token, &mut answer);
        assert_eq!(answer, b"x-amz-security-token:[secret]\n");
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
