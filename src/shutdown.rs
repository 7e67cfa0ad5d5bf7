//! How the daemon stops: first it drains, and if that takes too long it is cut short.

use tokio_util::sync::CancellationToken;

/// The two stop signals, and who may give them: SIGTERM, a second SIGTERM, the drain deadline.
///
/// *Drain*: consumers stop reading; every record that was begun still gets its fates. *Cut short*:
/// everything stops where it is; what has no fate is abandoned and read again after the restart.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    cut_short: CancellationToken,
}

impl Shutdown {
    /// Asks everybody to finish what was begun and read nothing more.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Asks everybody to stop where they are. Implies `drain`.
    pub fn cut_short(&self) {
        self.drain.cancel();
        self.cut_short.cancel();
    }

    /// Resolves when nothing more may be read. Cancel safe.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Resolves when everything must stop where it is. Cancel safe.
    pub async fn cut(&self) {
        self.cut_short.cancelled().await;
    }

    /// Whether nothing more may be read.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Whether everything must stop where it is.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        self.cut_short.is_cancelled()
    }
}
