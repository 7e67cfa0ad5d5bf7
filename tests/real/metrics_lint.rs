//! Prometheus's linter tells a good page from a bad one, so that its silence means something.

use crate::servers::promtool_complaints;

#[tokio::test]
async fn a_page_with_help_and_units_passes_and_one_without_is_named() {
    let good = "# HELP weir_events_read_total Events.\n# TYPE weir_events_read_total counter\n\
                weir_events_read_total 1\n";
    let Some(complaints) = promtool_complaints(good).await else { return };
    assert_eq!(complaints, "");

    let bad = "# TYPE weir_events_read counter\nweir_events_read 1\n";
    let Some(complaints) = promtool_complaints(bad).await else { return };
    assert!(complaints.contains("weir_events_read"), "{complaints}");
}
