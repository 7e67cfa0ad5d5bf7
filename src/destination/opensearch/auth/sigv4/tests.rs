//! A signature covers what is sent.

use reqwest::Method;

use crate::aws::{HOUR, scripted};

use super::*;

fn signer(service: &str) -> Signer {
    let config = format!("region = 'eu-west-1'\nservice = '{service}'");
    let mut signer = Signer::new(toml::from_str(&config).unwrap());
    signer.credentials = scripted(&[HOUR]).0;
    signer
}

fn request() -> Request {
    let url = "https://search.example.com/_bulk?filter_path=errors,items.*.status";
    let mut request = Request::new(Method::POST, url.parse().unwrap());
    let kind = HeaderValue::from_static("application/x-ndjson");
    _ = request.headers_mut().insert("content-type", kind);
    *request.body_mut() = Some("{}\n".into());
    request
}

async fn signed(signer: &Signer) -> Request {
    let mut request = request();
    signer.sign(&mut request).await.unwrap();
    request
}

#[tokio::test]
async fn a_signature_covers_the_body_and_all_headers_and_shows_no_secret() {
    let es = signer("es");
    let request = signed(&es).await;
    assert_eq!(request.url().query(), Some("filter_path=errors%2Citems.%2A.status"));
    let header = |name: &str| request.headers()[name].to_str().unwrap();
    let says = header("authorization");
    assert!(says.starts_with("AWS4-HMAC-SHA256 Credential=AKID0/"), "{says}");
    assert!(says.contains("/eu-west-1/es/aws4_request, "), "{says}");
    let names = "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, ";
    assert!(says.contains(names), "{says}");
    assert!(request.headers().get("x-amz-content-sha256").is_none());
    let aoss = signer("aoss");
    let request = signed(&aoss).await;
    // Of "{}\n".
    let hash = "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356";
    assert_eq!(request.headers()["x-amz-content-sha256"], hash);
    let shown = format!("{aoss:?} {request:?}");
    assert!(!shown.contains("sesame") && !shown.contains("token-0"), "{shown}");
}
