//! The runtime behind the blocking API.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// The runtime shared by all servers of this process: tests start many servers,
/// and a runtime for each would start as many thread pools.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("e2e-servers")
            .enable_all()
            .build()
            .expect("the system has two threads and an epoll descriptor to give")
    })
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(runtime().spawn(future))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
        // The sockets close when the task has gone. A test that drops a server
        // and expects "connection refused" must not race with that.
        let deadline = Instant::now() + Duration::from_secs(1);
        while !self.0.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}
