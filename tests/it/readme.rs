//! What the README says about the program is what the program says. `BLESS=1` writes it there.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use aws_sdk_kinesis::config::Credentials;
use logweir::app::App;
use logweir::config::Config;
use logweir::demo::endpoint::Endpoint;
use logweir::demo::session::config_text;
use logweir::shutdown::Shutdown;

fn readme() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

/// Compares what stands between `<!-- NAME -->` and `<!-- end of NAME -->` with what should.
fn assert_section(name: &str, expected: &str) {
    let text = fs::read_to_string(readme()).unwrap();
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (section, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    if std::env::var_os("BLESS").is_some() {
        fs::write(readme(), format!("{before}{begin}{expected}{end}{after}")).unwrap();
        return;
    }
    assert!(
        section == expected,
        "README's {name} are not these (BLESS=1 writes them):\n{expected}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_lists_every_metric_with_its_labels() {
    let (folder, endpoint) = (tempfile::tempdir().unwrap(), Endpoint::start(1).await.unwrap());
    let text = config_text(folder.path(), &endpoint.url(), "127.0.0.1:0");
    let config = Config::parse("readme", &text, |_| None).unwrap();
    let shutdown = Shutdown::default();
    let credentials = Credentials::new("test", "test", None, None, "test");
    let app = App::start(config, shutdown.clone(), Some(credentials)).await.unwrap();
    let registry = app.view().registry.clone();
    let has_lag = || {
        let mut families = registry.gather().into_iter();
        families.any(|family| family.name() == "logweir_shard_lag_seconds")
    };
    for _ in 0..600 {
        if has_lag() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let mut table = "| metric | what it says |\n|---|---|\n".to_owned();
    for family in registry.gather() {
        let metric = &family.get_metric()[0];
        let labels: Vec<_> = metric.get_label().iter().map(|pair| pair.name()).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(", ")) };
        writeln!(table, "| `{}{labels}` | {} |", family.name(), family.help()).unwrap();
    }
    shutdown.drain();
    app.finish().await;
    assert_section("metrics", &table);
}

#[test]
fn the_readme_shows_the_help() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_logweir")).arg("--help").output();
    let help = String::from_utf8(help.unwrap().stdout).unwrap();
    assert_section("help", &format!("```text\n{help}```\n"));
}
