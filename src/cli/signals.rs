//! What signals ask of a daemon: the first one to drain, the second to stop at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::shutdown::Shutdown;

/// The signals that stop a process.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on they no longer end the process.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn catch() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { terminate, interrupt })
    }

    /// Waits for the next one. Cancel safe.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Passes them on for as long as the daemon runs.
    pub(super) async fn obey(mut self, shutdown: Shutdown) {
        self.next().await;
        info!("a signal to stop: a second one stops at once");
        shutdown.drain();
        self.next().await;
        warn!("a second signal: stopping at once");
        shutdown.cut_short();
        std::future::pending::<()>().await;
    }
}
