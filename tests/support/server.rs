//! A server in a process of its own, for tests that kill it and for measurements.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a server may take to say that it listens.
const START_MAX: Duration = Duration::from_secs(30);

pub struct ServerProcess {
    child: Child,
    pub address: SocketAddr,
}

impl ServerProcess {
    /// Starts `binary serve --config CONFIG`, pinned to processor `pin` where one is given, and
    /// waits until it says where it listens.
    pub fn start(binary: &Path, config: &Path, pin: Option<usize>) -> Self {
        let mut command = match pin {
            Some(processor) => {
                let mut command = Command::new("taskset");
                command.arg("-c").arg(processor.to_string()).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        let log = config.with_extension("log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("a log");
        let mut child = command
            .arg("serve")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let output = child.stdout.take().expect("piped");
        let (sender, receiver) = std::sync::mpsc::channel();
        // Reads on to the end, so that the server never waits for its output to be taken.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(at) = line.find("http://") {
                    let address = line[at + "http://".len()..]
                        .split(|c: char| c == '/' || c.is_whitespace())
                        .next()
                        .and_then(|text| text.parse().ok());
                    let _ = sender.send(address);
                }
            }
        });
        let address = receiver.recv_timeout(START_MAX).ok().flatten();
        let Some(address) = address else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the server did not start; its log: {}", config.with_extension("log").display());
        };
        Self { child, address }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|text| text.trim().trim_end_matches(" kB").trim().parse().ok())
            .unwrap_or(0)
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `kill -9`: no goodbye, nothing flushed.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits for the end; answers whether it ended by itself within `limit`.
    pub fn terminate(mut self, limit: Duration) -> bool {
        let _ = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if let Ok(Some(_)) = self.child.try_wait() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
