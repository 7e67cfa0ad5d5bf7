//! `logweir setup`, the real binary, against a scripted engine.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::fake_bulk::FakeBulk;

fn write_config(folder: &Path, url: &str) -> PathBuf {
    let state = folder.join("state.db");
    let text = format!(
        "[stream.main]\nregion = \"eu-west-1\"\n\n[state.sqlite]\npath = \"{}\"\n\n\
         [destination.search.opensearch]\nurl = \"{url}\"\nkeep = \"30d\"\n\n\
         [[route]]\nname = \"flow\"\nlog_group = \"/vpc/*\"\nparse = \"vpc_flow\"\n\
         to = [\"search\"]\nindex = \"vpc-flowlogs-%Y.%m.%d\"\n\n\
         [[route]]\nname = \"rest\"\nparse = \"auto\"\nto = [\"search\"]\nindex = \"cwl-%Y.%m.%d\"\n",
        state.display()
    );
    let path = folder.join("logweir.toml");
    std::fs::write(&path, text).unwrap();
    path
}

async fn setup(config: &Path, options: &[&str]) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_logweir"));
    let output = command.arg("setup").arg("--config").arg(config).args(options).output();
    let Output { status, stdout, stderr } = output.await.unwrap();
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn a_dry_run_prints_every_request_and_changes_nothing() {
    let (folder, fake) = (tempfile::tempdir().unwrap(), FakeBulk::start().await);
    let config = write_config(folder.path(), fake.url());
    let (code, said) = setup(&config, &["--dry-run"]).await;
    assert_eq!(code, Some(0), "{said}");
    for path in ["PUT /_plugins/_ism/policies/", "PUT /_index_template/"] {
        assert_eq!(said.matches(path).count(), 2, "{path}: {said}");
    }
    assert!(fake.requests().iter().all(|request| request.method == "GET"));
}

#[tokio::test]
async fn doing_it_again_changes_nothing() {
    let (folder, fake) = (tempfile::tempdir().unwrap(), FakeBulk::start().await);
    let config = write_config(folder.path(), fake.url());
    let (code, said) = setup(&config, &[]).await;
    assert_eq!((code, said.matches(": installed").count()), (Some(0), 4), "{said}");
    let (code, said) = setup(&config, &["--destination", "search"]).await;
    assert_eq!((code, said.matches(": unchanged").count()), (Some(0), 4), "{said}");
}

#[tokio::test]
async fn what_goes_wrong_is_told_by_text_and_exit_code() {
    let (folder, fake) = (tempfile::tempdir().unwrap(), FakeBulk::start().await);
    let config = write_config(folder.path(), fake.url());
    fake.put("/_index_template/logweir-cwl", serde_json::json!({"template": {}}));
    let foreign: Vec<_> = fake.settings().into_keys().collect();
    let (code, said) = setup(&config, &["--destination", "other"]).await;
    assert_eq!(code, Some(64), "{said}");
    let (code, said) = setup(&config, &[]).await;
    assert!(foreign.iter().any(|name| said.contains(name.rsplit('/').next().unwrap())), "{said}");
    assert!(said.contains("was not made by logweir: rename or delete it"), "{said}");
    assert_eq!(code, Some(1), "{said}");
    let nobody = write_config(folder.path(), "http://127.0.0.1:1");
    let (code, said) = setup(&nobody, &[]).await;
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("could not reach the engine"), "{said}");
    assert!(said.contains("; check the URL, the network"), "{said}");
    for (path, status, remedy) in [
        ("/", 401, "; check the destination's credentials: user and password, or API key\n"),
        ("/", 404, "; check the URL: what answers there is not a search engine\n"),
        ("/_index_template/logweir-cwl", 403, "; run `logweir setup` with rights to put index"),
    ] {
        fake.refuse_nothing().refuse(path, status);
        let (code, said) = setup(&write_config(folder.path(), fake.url()), &[]).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(remedy), "{path} {status}: {said}");
    }
}

#[tokio::test]
async fn an_engine_that_hangs_is_waited_for_aloud() {
    let folder = tempfile::tempdir().unwrap();
    // Takes connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = write_config(folder.path(), &format!("http://{}", silent.local_addr().unwrap()));
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("keep = ", "timeout = \"5s\"\nkeep = ")).unwrap();
    let (code, said) = setup(&config, &[]).await;
    assert_eq!(code, Some(69), "{said}");
    let waits = "destination `search`: waits for answers of its engine, up to 5s for each";
    assert!(said.starts_with(waits), "{said}");
}
