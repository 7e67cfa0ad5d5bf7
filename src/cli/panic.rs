//! A bug ends the whole daemon: half of one would go on and look healthy.

use tracing::error;

use super::Exit;

/// From now on a panic of any thread or task is logged and ends the process. Whatever starts it again
/// reads on from the checkpoint; what had no fate is read again.
pub(super) fn end_process() {
    std::panic::set_hook(Box::new(|panic| {
        error!("a bug, and the end of this process; nothing is lost, a restart reads on: {panic}");
        std::process::exit(Exit::Software as i32);
    }));
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use tokio::task::JoinSet;

    const ALONE: &str = "LOGWEIR_TEST_PANICS";

    #[test]
    fn a_panic_of_a_task_ends_the_process() {
        if std::env::var_os(ALONE).is_some() {
            super::end_process();
            let mut tasks = JoinSet::new();
            let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
            runtime.block_on(async {
                tasks.spawn(async { panic!("on purpose") });
                tasks.join_next().await
            });
            return;
        }
        let mut itself = Command::new(std::env::current_exe().unwrap());
        itself.args(["--exact", "cli::panic::tests::a_panic_of_a_task_ends_the_process"]);
        let status = itself.env(ALONE, "1").status().unwrap();
        assert_eq!(status.code(), Some(70));
    }
}
