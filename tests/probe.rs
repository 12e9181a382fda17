//! The probe against real servers on this host: what a site says, and what it does instead of saying something.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};
use serde_json::Value;
use whytop::probe::Probe;
use whytop::site::{Answer, Failure, News, Reply};

/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that does this with each connection; answers its address.
fn server(serve: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || listener.incoming().flatten().for_each(serve));
    address
}

/// Reads a request up to its end; answers its first line.
fn request(connection: &mut impl Read) -> String {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    lines.for_each(drop);
    first
}

/// A server with one answer for everybody.
fn saying(answer: &'static str) -> String {
    server(move |mut connection| {
        request(&mut connection);
        let _ = connection.write_all(answer.as_bytes());
    })
}

fn probe(url: &str) -> (Probe, Receiver<News>) {
    let (send, news) = channel();
    let tell = move |told| if send.send(told).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    (Probe::start(url.parse().unwrap(), tell).unwrap(), news)
}

/// The next answer.
fn answer(news: &Receiver<News>) -> Answer {
    loop {
        if let News::Answered(answer) = news.recv_timeout(PATIENCE).expect("an answer") {
            return answer;
        }
    }
}

fn ask(url: &str) -> Result<Reply, Failure> {
    let (_probe, news) = probe(url);
    answer(&news).result
}

fn status(url: &str) -> u16 {
    ask(url).unwrap_or_else(|failure| panic!("{url}: {failure}")).status
}

fn failure(url: &str) -> String {
    ask(url).expect_err("no answer").to_string()
}

#[test]
fn a_site_answers_with_status_and_time() {
    let address = saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
    let reply = ask(&format!("http://{address}/")).unwrap();
    assert_eq!(reply.status, 200);
    assert!(reply.is_well() && reply.seconds > 0.0 && reply.seconds < 5.0, "{reply}");
    let address = saying("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(status(&format!("http://{address}/")), 503);
}

#[test]
fn it_is_asked_again_and_again_until_nobody_listens() {
    let address = saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let (probe, news) = probe(&format!("http://{address}/"));
    let [first, second] = [answer(&news), answer(&news)];
    let apart = second.asked.duration_since(first.asked).as_secs_f64();
    assert!((1.9..20.0).contains(&apart), "asked after {apart} s");
    drop(probe);
    // The thread ends, and with it its end of the channel.
    while news.recv_timeout(PATIENCE).is_ok() {}
}

#[test]
fn what_is_no_answer_is_told_in_plain_words() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(failure(&format!("http://{nobody}/")), "connection refused");
    let hangs_up = server(drop);
    assert_eq!(failure(&format!("http://{hangs_up}/")), "hangs up without an answer");
    let babbles = saying("\x1b]0;owned\x07 220 smtp.example ESMTP\r\n\r\n");
    assert_eq!(failure(&format!("http://{babbles}/")), "what answers is not HTTP");
    let hostile = saying("HTTP/1.1 200 \x1b[2J\r\n\r\n");
    assert_eq!(failure(&format!("http://{hostile}/")), "what answers is not HTTP");
    let unknown = failure("http://no-such-host.invalid/");
    assert!(["its name is not known", "no name server answers"].contains(&unknown.as_str()), "{unknown}");
}

#[test]
fn a_site_that_hangs_is_given_up() {
    // The first says nothing, the second stops in the middle of its page.
    let silent = server(std::mem::forget);
    let stalls = server(|mut connection| {
        request(&mut connection);
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nbegin");
        std::mem::forget(connection);
    });
    let both = [silent, stalls].map(|address| thread::spawn(move || ask(&format!("http://{address}/"))));
    for asked in both {
        assert_eq!(asked.join().unwrap(), Err(Failure::NoAnswer));
    }
}

#[test]
fn an_endless_page_is_read_no_further_than_its_beginning() {
    let endless = server(|mut connection| {
        request(&mut connection);
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while connection.write_all(&[b'x'; 4096]).is_ok() {}
    });
    assert_eq!(status(&format!("http://{endless}/")), 200);
}

#[test]
fn it_follows_to_its_own_pages_and_nowhere_else() {
    let (send, asked) = channel();
    let elsewhere = server(move |_| send.send(()).unwrap());
    // Another host by its name: the address may be the same.
    let elsewhere = elsewhere.replace("127.0.0.1", "localhost");
    let site = server(move |mut connection| {
        let to = match request(&mut connection).split(' ').nth(1) {
            Some("/") => "/login",
            Some("/login") => {
                let _ = connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
                return;
            }
            Some("/out") => &format!("http://{elsewhere}/"),
            _ => "/round",
        };
        let _ = write!(connection, "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
    });
    assert_eq!(status(&format!("http://{site}/")), 204);
    assert_eq!(status(&format!("http://{site}/out")), 302);
    assert!(asked.try_recv().is_err(), "it went to another host");
    assert_eq!(status(&format!("http://{site}/round")), 302, "round and round ends");
}

/// A site that shows this certificate.
fn secured(certificate: &Certificate, key: &KeyPair) -> String {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    server(move |mut connection| {
        let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = Stream::new(&mut tls, &mut connection);
        request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    })
}

/// A site with a certificate that it made itself, for this name.
fn self_signed(name: &str) -> String {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    secured(&made.cert, &made.signing_key)
}

/// The house has an authority of its own, and this host trusts it.
#[test]
fn a_site_whose_certificate_is_good_answers_by_an_encrypted_connection() {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let trusted = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let url = format!("https://{}/", secured(&certificate, &key).replace("127.0.0.1", "localhost"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authorities.pem");
    fs::write(&file, trusted).unwrap();
    let mut once = Command::new(env!("CARGO_BIN_EXE_whytop"));
    once.args(["once", "--json", "--probe", &url]).env("SSL_CERT_FILE", &file).env_remove("SSL_CERT_DIR");
    let answer: Value = serde_json::from_slice(&once.output().unwrap().stdout).unwrap();
    assert_eq!((&answer["probe"]["status"], &answer["probe"]["well"]), (&200.into(), &true.into()), "{}", answer["probe"]);
    // And for this name only.
    let other = url.replace("localhost", "127.0.0.1");
    let mut once = Command::new(env!("CARGO_BIN_EXE_whytop"));
    once.args(["once", "--json", "--probe", &other]).env("SSL_CERT_FILE", &file).env_remove("SSL_CERT_DIR");
    let answer: Value = serde_json::from_slice(&once.output().unwrap().stdout).unwrap();
    assert_eq!(answer["probe"]["error"], "its certificate is for another name");
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_named_as_that() {
    let address = self_signed("localhost");
    let told = failure(&format!("https://{}/", address.replace("127.0.0.1", "localhost")));
    assert!(told.starts_with("its certificate is not trusted"), "{told}");
    let plain = server(|mut connection| {
        let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let told = failure(&format!("https://{plain}/"));
    assert!(told.starts_with("no encrypted connection"), "{told}");
}

fn once(url: &str, more: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_whytop")).args(["once", "--probe", url]).args(more).output().unwrap();
    (String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr), output.status.code())
}

#[test]
fn once_tells_how_the_site_is() {
    let address = saying("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n");
    let url = format!("http://ann:secret@{address}/status");
    let answer: Value = serde_json::from_str(&once(&url, &["--json"]).0).unwrap();
    let probe = &answer["probe"];
    assert_eq!(probe["url"], format!("http://{address}/status"), "no password is printed");
    assert_eq!((&probe["status"], &probe["well"], &probe["error"]), (&503.into(), &false.into(), &Value::Null));
    assert!(probe["latency_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{probe}");
    let text = once(&url, &[]).0;
    assert!(text.contains("site: 503 in ") && !text.contains("secret"), "{text}");
    let (complaint, code) = once("intranet", &[]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("give a whole URL") && complaint.lines().count() == 1, "{complaint}");
}
