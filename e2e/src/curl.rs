//! The system's `curl`, as in the documentation.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::process::run;
use crate::scratch::Scratch;

/// Seconds for `--max-time`.
const MAX_TIME: u64 = 20;

/// Variables that would send curl to a proxy of the machine.
const PROXY_VARIABLES: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "HTTP_PROXY",
];

/// A call of `curl`, being put together.
#[derive(Debug, Clone)]
pub struct Curl {
    url: String,
    arguments: Vec<OsString>,
    shown: bool,
}

/// What `curl` got.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The exit code of curl: 0 is a response of any status, 60 a certificate
    /// that does not verify, 7 no connection, 28 out of time.
    pub exit_code: i32,
    /// The status of the last response; 0 if there was none.
    pub status: u16,
    /// `ssl_verify_result`: 0 if the certificate is good, or no TLS was spoken.
    pub verify_result: i64,
    /// Names as received, and values; of the last response.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// What curl said about an error.
    pub error: String,
}

impl Curl {
    /// A `GET` of this URL, without a proxy and without the user's `.curlrc`.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), arguments: Vec::new(), shown: false }
            .arg("--max-time")
            .arg(MAX_TIME.to_string())
    }

    /// Connects to `address` whenever `host:port` is meant (`--connect-to`); an
    /// empty `host_port` means any host and port.
    #[must_use]
    pub fn connect_to(self, host_port: &str, address: SocketAddr) -> Self {
        let from = if host_port.is_empty() { ":" } else { host_port };
        self.arg("--connect-to").arg(format!("{from}:{address}"))
    }

    /// Trusts the certificates of this file only.
    #[must_use]
    pub fn cacert(self, bundle: impl AsRef<Path>) -> Self {
        self.arg("--cacert").arg(bundle.as_ref())
    }

    /// Sends a header; an empty value sends an empty one, where curl itself
    /// would leave it out.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        let line = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
        self.arg("--header").arg(line)
    }

    /// Uses another method.
    #[must_use]
    pub fn method(self, method: &str) -> Self {
        match method {
            "HEAD" => self.arg("--head"),
            _ => self.arg("--request").arg(method),
        }
    }

    /// Adds any argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Prints the command line when it runs.
    #[must_use]
    pub fn shown(mut self) -> Self {
        self.shown = true;
        self
    }

    /// The command line, ready for a shell, without those options that only
    /// bring the answer back to this program.
    #[must_use]
    pub fn command_line(&self) -> String {
        let words = self.arguments.iter().map(|argument| argument.to_string_lossy());
        let words = words.map(|word| quote(&word)).collect::<Vec<_>>().join(" ");
        format!("curl {words} {}", quote(&self.url))
    }

    /// Runs it. An error is only that curl itself did not work; see
    /// [`Answer::exit_code`] for the rest.
    pub fn run(&self) -> Result<Answer> {
        if self.shown {
            println!("$ {}", self.command_line());
        }
        let scratch = Scratch::new()?;
        let (head, body) = (scratch.path().join("head"), scratch.path().join("body"));
        let mut command = Command::new("curl");
        // `-q` counts as the first argument only.
        command.args(["-q", "--silent", "--show-error", "--write-out"]);
        command.arg("%{http_code} %{ssl_verify_result}");
        command.arg("--dump-header").arg(&head).arg("--output").arg(&body);
        command.args(&self.arguments).arg("--url").arg(&self.url);
        for name in PROXY_VARIABLES {
            command.env_remove(name);
        }
        let finished = run(&mut command, Duration::from_secs(MAX_TIME + 10))?;
        let mut words = finished.stdout.split_whitespace();
        Ok(Answer {
            exit_code: finished.code().context("a signal ended curl")?,
            status: words.next().and_then(|word| word.parse().ok()).unwrap_or(0),
            verify_result: words.next().and_then(|word| word.parse().ok()).unwrap_or(0),
            headers: last_head(&fs::read(&head).unwrap_or_default()),
            // curl makes no file for no body.
            body: fs::read(&body).unwrap_or_default(),
            error: finished.stderr.trim().to_owned(),
        })
    }
}

impl Answer {
    /// The first header of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }

    /// The body as text, with invalid UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The headers of the last response in a `--dump-header` file, which also has
/// those of a proxy's answer to CONNECT and of redirects.
fn last_head(bytes: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(bytes);
    let head = text.trim_end().rsplit("\r\n\r\n").next().unwrap_or_default();
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
