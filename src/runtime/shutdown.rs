//! Stopping: one signal for all, and knowing when all have ended.

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Handed to every task. `draining` comes first (say goodbye, take nothing new), `stopping`
/// afterwards (end now).
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    pub draining: CancellationToken,
    pub stopping: CancellationToken,
    pub tasks: TaskTracker,
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns a task that `app` awaits before it closes the log.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }
}
