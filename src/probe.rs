//! Asks a web site how it is: one GET each two seconds, on a thread of its own, and tells what came of it as [`News`].
//!
//! The site is the one that suffers, so it is asked as a visitor would ask: by a new connection each time, without a proxy, following it
//! only to another page of the same host, reading no more than the beginning of the page. What the server says is never passed on but for
//! its status, and text of its certificate is cleaned. Started only when asked for. One of the homes of clocks and threads. Tested in
//! place and by `tests/probe.rs` against real servers.

#![allow(clippy::disallowed_methods, reason = "an answer takes time, and that is what is measured")]

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use rustls::CertificateError;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Error};

use crate::site::{Answer, Failure, News, Reply};
use crate::units::clean;

/// From one question to the next, if the answer does not take longer.
const PACE: Duration = Duration::from_secs(2);
/// A page that takes longer is none: visitors are gone by then, and most health checks have given up.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// Most of a page that is read, in bytes: enough to know that it comes, however large it is.
const BODY: u64 = 64 * 1024;
/// How often the site may send the probe on to another of its pages: to HTTPS, to its start page, and one to spare.
const HOPS: usize = 3;
/// Most characters of a reason that are shown: a certificate may name a thousand hosts.
const WORDS: usize = 120;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Address(Uri);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("no URL: {error}"))?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(Self(uri)),
            _ => Err("give a whole URL, such as http://localhost/ or https://intranet.example/login".to_owned()),
        }
    }
}

impl Address {
    /// Fit to be shown: without a password, and harmless.
    pub fn shown(&self) -> String {
        let authority = self.0.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
        let path = self.0.path();
        clean(&format!("{}://{}{path}", self.0.scheme_str().unwrap_or_default(), authority.unwrap_or_default()))
    }
}

/// A running probe. Dropping it asks the thread to stop and does not wait for it: the site may not answer.
#[derive(Debug)]
pub struct Probe {
    _alive: Sender<()>,
}

impl Probe {
    /// Starts to ask. What is told runs on the probe's thread; `Break` ends it.
    pub fn start(address: Address, mut tell: impl FnMut(News) -> ControlFlow<()> + Send + 'static) -> Result<Self> {
        let (alive, ended) = channel::<()>();
        let ask_on = move || {
            let agent = agent();
            loop {
                let start = Instant::now();
                if tell(News::Asked(Timestamp::now())).is_break() || tell(News::Answered(ask(&agent, &address))).is_break() {
                    return;
                }
                if ended.recv_timeout(PACE.saturating_sub(start.elapsed())) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        thread::Builder::new().name("probe".to_owned()).spawn(ask_on).context("start the probing thread")?;
        Ok(Self { _alive: alive })
    }
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        // The trust of this host, so that a certificate of the house is good here if it is for everybody else.
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .proxy(None)
        .timeout_global(Some(DEADLINE))
        .http_status_as_error(false)
        // Followed by hand: not to other hosts.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .user_agent(concat!("whytop/", env!("CARGO_PKG_VERSION"), " (probe)"))
        .build();
    Agent::new_with_config(config)
}

/// Asks once.
fn ask(agent: &Agent, address: &Address) -> Answer {
    let (asked, start) = (Timestamp::now(), Instant::now());
    let mut uri = address.0.clone();
    let mut hops = 0;
    let result = loop {
        match get(agent, &uri) {
            Ok((_, Some(next))) if hops < HOPS && start.elapsed() < DEADLINE => {
                uri = next;
                hops += 1;
            }
            Ok((status, _)) => break Ok(Reply { status, seconds: start.elapsed().as_secs_f64() }),
            Err(error) => break Err(failure(&error)),
        }
    };
    Answer { asked, result }
}

/// One page: its status, and where it sends on to.
fn get(agent: &Agent, uri: &Uri) -> Result<(u16, Option<Uri>), Error> {
    let mut response = agent.get(uri.clone()).call()?;
    let status = response.status();
    let location = response.headers().get("location").filter(|_| status.is_redirection());
    let next = location.and_then(|to| next_page(uri, to.to_str().ok()?));
    io::copy(&mut response.body_mut().as_reader().take(BODY), &mut io::sink())?;
    Ok((status.as_u16(), next))
}

/// The page of the same host that this one sends on to, if it is one. A whole URL of another host, or one that gives up encryption, is
/// not followed: then the status that sends on is the answer.
fn next_page(from: &Uri, location: &str) -> Option<Uri> {
    if location.starts_with('/') && !location.starts_with("//") {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = Some(location.parse().ok()?);
        return Uri::from_parts(parts).ok();
    }
    let to: Uri = location.parse().ok()?;
    let same = to.host()?.eq_ignore_ascii_case(from.host()?);
    let kept = to.scheme_str()? == "https" || (to.scheme_str()? == "http" && from.scheme_str()? == "http");
    (same && kept).then_some(to)
}

/// Why there is no answer, in the words of the screen.
fn failure(error: &Error) -> Failure {
    match error {
        Error::Timeout(_) => Failure::NoAnswer,
        Error::HostNotFound => Failure::NoName { told: true },
        Error::Io(error) => of_io(error),
        Error::Rustls(error) => of_tls(error),
        Error::Tls(why) => Failure::Encryption(words(why)),
        Error::Protocol(_) | Error::Http(_) | Error::LargeResponseHeader(..) => Failure::NotHttp,
        other => Failure::Other(words(&other.to_string())),
    }
}

fn of_io(error: &io::Error) -> Failure {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return of_tls(error);
    }
    match error.kind() {
        TimedOut | WouldBlock => Failure::NoAnswer,
        ConnectionRefused => Failure::Refused,
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => Failure::HungUp,
        _ => {
            let text = error.to_string();
            // The library's only word for what getaddrinfo(3) says; its reason follows in the system's own.
            match text.strip_prefix("failed to lookup address information: ") {
                Some(why) => Failure::NoName { told: !why.starts_with("Temporary") },
                None => Failure::Other(words(text.split(" (os error").next().unwrap_or_default())),
            }
        }
    }
}

fn of_tls(error: &rustls::Error) -> Failure {
    let rustls::Error::InvalidCertificate(why) = error else { return Failure::Encryption(words(&error.to_string())) };
    Failure::Certificate(match why {
        CertificateError::UnknownIssuer => "is not trusted: who signed it is not known here".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "is for another name".to_owned(),
        CertificateError::Revoked => "was revoked".to_owned(),
        other => format!("is not good: {}", words(&other.to_string())),
    })
}

/// Text that may hold some of the server's, for one line.
fn words(text: &str) -> String {
    clean(&text.chars().take(WORDS).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_urls_of_the_web_are_taken() {
        for bad in ["intranet", "ftp://host/", "file:///etc/passwd", "http://", "https:///x", "http://a b/", ""] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        for (text, shown) in [
            ("http://localhost", "http://localhost/"),
            ("https://ann:secret@intranet.example:8443/login?token=x", "https://intranet.example:8443/login"),
            ("http://[::1]:80/", "http://[::1]:80/"),
        ] {
            assert_eq!(text.parse::<Address>().map(|address| address.shown()).as_deref(), Ok(shown));
        }
    }

    #[test]
    fn the_probe_stays_on_its_host() {
        let from = Uri::from_static("http://intranet.example/");
        let next = |location| next_page(&from, location).map(|uri| uri.to_string());
        assert_eq!(next("/login?next=%2F").as_deref(), Some("http://intranet.example/login?next=%2F"));
        assert_eq!(next("https://INTRANET.example/").as_deref(), Some("https://INTRANET.example/"));
        for elsewhere in
            ["http://169.254.169.254/latest", "//evil.example/", "file:///etc/shadow", "https://evil.example/", "login", ""]
        {
            assert_eq!(next(elsewhere), None, "{elsewhere}");
        }
        let from = Uri::from_static("https://intranet.example/");
        assert_eq!(next_page(&from, "http://intranet.example/"), None, "encryption is not given up");
    }

    #[test]
    fn failures_read_as_plain_words() {
        let lookup = |why: &str| io::Error::other(format!("failed to lookup address information: {why}"));
        assert_eq!(of_io(&lookup("Name or service not known")).to_string(), "its name is not known");
        assert_eq!(of_io(&lookup("Temporary failure in name resolution")).to_string(), "no name server answers");
        let strange = io::Error::other("\x1b[2J\u{202e}evil");
        assert_eq!(of_io(&strange).to_string(), "\\x1b[2J\\u{202e}evil");
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, tls);
        assert_eq!(of_io(&wrapped).to_string(), "its certificate is not trusted: who signed it is not known here");
    }
}
