//! A server that answers as the hub does.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pixelcnn_hub::{Hub, Repository};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

pub(crate) const COMMIT: &str = "00112233445566778899aabbccddeeff00112233";
/// The content of the weights: longer than what is read at once.
pub(crate) const LARGE: usize = 700_001;
/// The most bytes of the weights that [`Fault::Pieces`] sends at a time.
pub(crate) const PIECE: usize = 90_000;

/// What the server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Every request is refused with this status.
    Status(u16, &'static str),
    /// Requests for files are refused with this status.
    FileStatus(u16, &'static str),
    /// Half of the body, then the end of the connection.
    Truncated,
    /// Another length than was announced, complete in itself.
    WrongLength,
    /// The right number of other bytes.
    WrongBytes,
    /// Every file is redirected to itself.
    Loop,
    /// The body stops in the middle, without an end.
    Slow,
    /// The connection is closed without an answer.
    Reset,
    /// Every request is redirected to this address.
    Astray(&'static str),
    /// The list of files is endless.
    Endless,
    /// The second request is answered with another ETag and content.
    Changed,
    /// The weights are on another server, which must not see the token.
    Elsewhere,
    /// The repository has another name now.
    Renamed,
    /// The first request of each kind is refused with this status.
    Busy(u16, &'static str),
    /// The first transfer ends in the middle.
    Lost(Rest),
    /// Every transfer ends after this many bytes.
    Pieces,
}

/// How a server answers a request for the rest of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// With the rest.
    Sent,
    /// With the whole file, as servers do that do not know ranges.
    Whole,
    /// With other bytes under another ETag.
    OfAnother,
    /// With the rest from another byte.
    Elsewhere,
    /// Not at all.
    Refused,
}

/// The request line and the headers, with names in small letters.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
}

struct State {
    fault: Fault,
    files: BTreeMap<String, Vec<u8>>,
    requests: Vec<Request>,
}

/// The server, and the cache of its client.
pub(crate) struct Server {
    address: String,
    state: Arc<Mutex<State>>,
    pub(crate) cache: TempDir,
}

impl Server {
    pub(crate) fn new(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let weights = (0..LARGE).map(|index| (index * 31 % 253) as u8).collect();
        let files = BTreeMap::from([
            (
                "config.json".to_string(),
                b"{\"kind\": \"uniform\"}\n".to_vec(),
            ),
            ("model.safetensors".to_string(), weights),
            ("data/a b.parquet".to_string(), b"PAR1".to_vec()),
            ("model.py".to_string(), b"print('code')".to_vec()),
        ]);
        let state = Arc::new(Mutex::new(State {
            fault,
            files,
            requests: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        // Ends with the test program.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self {
            address,
            state,
            cache: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }

    pub(crate) fn content(&self, file: &str) -> Vec<u8> {
        self.state.lock().unwrap().files[file].clone()
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    pub(crate) fn hub(&self) -> Hub {
        Hub {
            endpoint: self.address.clone(),
            cache: self.cache.path().into(),
            token: None,
            offline: false,
            // Longer than any answer takes that is not meant to be slow.
            patience: Duration::from_secs(20),
            pauses: vec![Duration::from_millis(1)],
            progress: Arc::new(|_| ()),
        }
    }

    /// The folder of the repository in the cache.
    pub(crate) fn folder(&self) -> PathBuf {
        self.cache.path().join("models--owner--name")
    }

    /// Every file in the cache, by its path in it, with its content.
    pub(crate) fn cached(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        walk(self.cache.path(), self.cache.path(), &mut found);
        found
    }
}

fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => walk(root, &path, found),
            false => {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                found.insert(name.to_string(), std::fs::read(&path).unwrap());
            }
        }
    }
}

pub(crate) fn repository() -> Repository {
    Repository::model("owner/name").unwrap()
}

/// The ETag of a file: of weights the SHA-256, of others that of Git.
pub(crate) fn etag(file: &str, content: &[u8]) -> String {
    let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if file.ends_with(".safetensors") {
        return hexadecimal(&Sha256::digest(content));
    }
    let header = format!("blob {}\0", content.len());
    hexadecimal(&Sha1::digest([header.as_bytes(), content].concat()))
}

/// Answers one request and closes the connection.
fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() || line.is_empty() {
        return;
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        match header.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_string()),
            None => break,
        };
    }
    let line = line.trim_end().to_string();
    let (fault, files, again) = {
        let mut state = state.lock().unwrap();
        let again = state.requests.iter().any(|it| it.line == line);
        state.requests.push(Request {
            line: line.clone(),
            headers: headers.clone(),
        });
        (state.fault, state.files.clone(), again)
    };
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let local = headers.get("host").cloned().unwrap_or_default();
    let fault = match fault {
        // The second request of its kind.
        Fault::Busy(..) if again => Fault::None,
        Fault::Busy(status, extra) => Fault::Status(status, extra),
        Fault::Lost(_) if !again => Fault::Truncated,
        fault => fault,
    };
    let range = headers.get("range").map(|range| {
        let start = range.strip_prefix("bytes=").unwrap();
        start.strip_suffix('-').unwrap().parse().unwrap()
    });
    let mut answer = match (fault, range) {
        (Fault::Pieces, Some(start)) => rest_of(&files["model.safetensors"], start, Rest::Sent),
        (Fault::Lost(rest), Some(start)) => rest_of(&files["model.safetensors"], start, rest),
        _ => answer(method == "HEAD", path, &local, fault, &files),
    };
    if fault == Fault::Pieces {
        let body = answer.windows(4).position(|part| part == b"\r\n\r\n");
        answer.truncate(body.unwrap() + 4 + PIECE);
    }
    let _ = stream.write_all(&answer);
    if fault == Fault::Slow && answer.len() > LARGE / 4 {
        // Until the client gives up.
        let _ = stream.read(&mut [0; 1]);
    }
}

/// The bytes of an answer.
fn answer(
    head: bool,
    path: &str,
    host: &str,
    fault: Fault,
    files: &BTreeMap<String, Vec<u8>>,
) -> Vec<u8> {
    let is_file = path.contains("/resolve/");
    match fault {
        Fault::Status(status, extra) => return refusal(status, extra),
        Fault::FileStatus(status, extra) if is_file => return refusal(status, extra),
        Fault::Loop if is_file => return redirection(path),
        Fault::Reset => return Vec::new(),
        Fault::Astray(to) => return redirection(to),
        Fault::Endless => return whole("", &vec![b' '; (64 << 20) + 1], head),
        Fault::Renamed if path.contains("owner/name") => {
            return redirection(&path.replace("owner/name", "owner/renamed"));
        }
        _ => {}
    }
    if path.starts_with("/api/models/") {
        return whole("", listing(files).as_bytes(), head);
    }
    let name = path
        .rsplit_once(&format!("/resolve/{COMMIT}/"))
        .map(|(_, name)| name);
    let name = name.or_else(|| path.strip_prefix("/stored/"));
    let file = name.unwrap_or_default().replace("%20", " ");
    let Some(content) = files.get(&file) else {
        return refusal(404, "X-Error-Code: EntryNotFound\r\n");
    };
    match (path.starts_with("/stored/"), fault) {
        (true, _) => whole("ETag: \"of-the-other-server\"\r\n", content, head),
        (false, Fault::Elsewhere) => elsewhere(&file, content, host, head),
        (false, _) => body(&file, content, head, fault),
    }
}

/// The description of the repository.
fn listing(files: &BTreeMap<String, Vec<u8>>) -> String {
    let siblings: Vec<_> = files
        .keys()
        .map(|file| format!("{{\"rfilename\": \"{file}\"}}"))
        .collect();
    format!(
        "{{\"id\": \"owner/name\", \"sha\": \"{COMMIT}\", \"siblings\": [{}]}}",
        siblings.join(", ")
    )
}

/// A redirection to another server, which describes the file.
fn elsewhere(file: &str, content: &[u8], host: &str, head: bool) -> Vec<u8> {
    let (_, port) = host.rsplit_once(':').unwrap();
    format!(
        "HTTP/1.1 302 Found\r\nX-Linked-ETag: \"{}\"\r\nX-Linked-Size: {}\r\n\
         X-Repo-Commit: {COMMIT}\r\nLocation: http://localhost:{port}/stored/{}\r\n\
         Content-Length: 9\r\nConnection: close\r\n\r\n{}",
        etag(file, content),
        content.len(),
        file.replace(' ', "%20"),
        if head { "" } else { "elsewhere" }
    )
    .into_bytes()
}

/// A file of the repository; only weights are sent with mistakes.
fn body(file: &str, content: &[u8], head: bool, fault: Fault) -> Vec<u8> {
    let headers = |content: &[u8]| {
        let tag = etag(file, content);
        format!("ETag: \"{tag}\"\r\nX-Repo-Commit: {COMMIT}\r\n")
    };
    let (own, size) = (headers(content), content.len());
    if head || size != LARGE {
        return whole(&own, content, head);
    }
    match fault {
        Fault::Truncated | Fault::Slow => {
            let all = whole(&own, content, head);
            all[..all.len() - size / 2].to_vec()
        }
        Fault::WrongLength => whole(&own, &content[..size - 1], head),
        Fault::WrongBytes => {
            let mut other = content.to_vec();
            other[size / 2] ^= 1;
            whole(&own, &other, head)
        }
        Fault::Changed => {
            let other = vec![1; size];
            whole(&headers(&other), &other, head)
        }
        _ => whole(&own, content, head),
    }
}

/// The answer to a request for the weights from a byte on.
fn rest_of(content: &[u8], start: usize, rest: Rest) -> Vec<u8> {
    let size = content.len();
    let tag = etag("model.safetensors", content);
    let part = |tag: &str, from: usize, body: &[u8]| {
        let length = body.len();
        let headers = format!(
            "HTTP/1.1 206 Partial Content\r\nETag: \"{tag}\"\r\nContent-Length: {length}\r\n\
             Content-Range: bytes {from}-{}/{size}\r\nConnection: close\r\n\r\n",
            size - 1
        );
        [headers.as_bytes(), body].concat()
    };
    match rest {
        Rest::Sent => part(&tag, start, &content[start..]),
        Rest::Whole => whole(&format!("ETag: \"{tag}\"\r\n"), content, false),
        Rest::OfAnother => part("another", start, &vec![7; size - start]),
        Rest::Elsewhere => part(&tag, start - 1, &content[start - 1..]),
        Rest::Refused => refusal(416, ""),
    }
}

fn whole(headers: &str, body: &[u8], head: bool) -> Vec<u8> {
    let length = body.len();
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    .into_bytes();
    if !head {
        answer.extend(body);
    }
    answer
}

fn refusal(status: u16, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Refused\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

fn redirection(to: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    )
    .into_bytes()
}
