//! The rules of `config/alerts.yml`, as Prometheus understands them.

use crate::servers::promtool_on_rules;

#[tokio::test]
async fn prometheus_takes_the_rules() {
    let check = promtool_on_rules(&["check", "rules", "config/alerts.yml"]).await;
    let Some((good, said)) = check else { return };
    assert!(good && said.contains("SUCCESS"), "{said}");
}

/// What each rule is to say when, and that none says anything when all is well, is in the file.
#[tokio::test]
async fn each_alert_speaks_when_it_should_and_only_then() {
    let test = promtool_on_rules(&["test", "rules", "tests/real/alerts_test.yml"]).await;
    let Some((good, said)) = test else { return };
    assert!(good && said.contains("SUCCESS"), "{said}");
}
