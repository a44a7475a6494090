//! The transfer of one file into the cache. Nothing gets its name there before its length
//! and its checksum are right.

use std::fs;
use std::io::{Read, Write};

use pixelcnn_system::{NewFile, remove_abandoned};
use ureq::http::HeaderMap;

use crate::cache::{Folder, create_folder_of};
use crate::requests::{Answer, Method, Requests, header};
use crate::verification::Checksum;
use crate::{HubError, Transfer};

/// Bytes between two progress reports.
const BLOCK: usize = 1 << 18;

/// What the hub announces of a file.
#[derive(Debug)]
struct Expected {
    etag: String,
    size: u64,
}

/// What has arrived of a file.
struct Part {
    file: NewFile,
    checksum: Checksum,
    done: u64,
    /// That of the server that sent it, which may be another than the hub's.
    etag: Option<String>,
}

impl Part {
    /// Whether the rest can be told from the rest of another content.
    fn can_continue(&self) -> bool {
        let weak = |etag: &String| etag.starts_with("W/");
        self.done > 0 && self.etag.as_ref().is_some_and(|etag| !weak(etag))
    }

    /// Whether an answer is the rest of the same content.
    fn is_continued_by(&self, answer: &Answer, expected: &Expected) -> bool {
        let headers = answer.response.headers();
        let size = expected.size;
        let rest = format!("bytes {}-{}/{size}", self.done, size.saturating_sub(1));
        answer.response.status() == 206
            && header(headers, "content-range") == Some(&rest)
            && header(headers, "etag") == self.etag.as_deref()
    }
}

/// One file of a commit.
pub(crate) struct File<'a> {
    pub(crate) requests: &'a Requests,
    pub(crate) folder: &'a Folder,
    pub(crate) commit: &'a str,
    pub(crate) name: &'a str,
}

impl File<'_> {
    /// Fetches the file unless the cache has its content, and returns its ETag.
    pub(crate) fn fetch(&self) -> Result<String, HubError> {
        let expected = self.described()?;
        let blob = self.folder.blob(&expected.etag);
        let found = fs::metadata(&blob).map(|found| found.len());
        // Another program may have left a part of the file.
        if found.ok() != Some(expected.size) {
            let (name, size) = (self.name, expected.size);
            tracing::info!("downloading {name}, {:.1} MB", size as f64 / 1e6);
            self.download(&expected)?;
        }
        Ok(expected.etag)
    }

    fn damaged(&self, why: impl Into<String>) -> HubError {
        self.requests.damaged(self.name, why.into())
    }

    /// Asks for the checksum and the length.
    fn described(&self) -> Result<Expected, HubError> {
        let url = self.requests.address(self.commit, self.name);
        let ask = || self.requests.follow(Method::Head, url.clone(), self.name);
        let answer = self.requests.repeated(ask)?;
        let headers = answer.response.headers();
        if let Some(other) = header(headers, "x-repo-commit").filter(|other| *other != self.commit)
        {
            let why = format!("commit {} expected, found {other}: try again", self.commit);
            return Err(self.damaged(why));
        }
        let length = match answer.response.status().is_redirection() {
            // The length of a redirection is not that of the file.
            true => header(headers, "x-linked-size"),
            false => header(headers, "x-linked-size").or_else(|| header(headers, "content-length")),
        };
        let size = length.and_then(|length| length.parse().ok());
        match (etag(headers), size) {
            (Some(etag), Some(size)) => Ok(Expected { etag, size }),
            (None, _) => Err(self.damaged(
                "the server names no ETag, so the file cannot be verified; check HF_ENDPOINT",
            )),
            (_, None) => Err(self.damaged(
                "the server names no length, so the file cannot be verified; check HF_ENDPOINT",
            )),
        }
    }

    /// Downloads the file. If the connection is lost, the rest is asked for.
    fn download(&self, expected: &Expected) -> Result<(), HubError> {
        let path = self.folder.blob(&expected.etag);
        create_folder_of(&path)?;
        if let Some(blobs) = path.parent() {
            // A program that was killed may have left a part.
            let is_own = |name: &str| name == expected.etag;
            remove_abandoned(blobs, is_own).map_err(HubError::io(blobs))?;
        }
        let (mut left, mut most) = (None, 0);
        let part = loop {
            let fetch = || self.received(left.take(), expected, &mut left);
            let error = match self.requests.repeated(fetch) {
                Ok(part) => break part,
                Err(error) => error,
            };
            // While a bad connection brings more and more, it is not given up.
            let done = left.as_ref().map_or(0, |part| part.done);
            if error.wait().is_none() || self.requests.hub().pauses.is_empty() || done <= most {
                return Err(error);
            }
            most = done;
        };
        self.check_content(part.done, part.checksum, expected)?;
        part.file.commit().map_err(HubError::io(&path))
    }

    /// The whole file, after what arrived before. If the connection is lost, `left` gets what
    /// has arrived.
    fn received(
        &self,
        before: Option<Part>,
        expected: &Expected,
        left: &mut Option<Part>,
    ) -> Result<Part, HubError> {
        let url = self.requests.address(self.commit, self.name);
        let rest = before.filter(Part::can_continue);
        let method = match &rest {
            Some(part) => Method::GetFrom(part.done),
            None => Method::Get,
        };
        let answer = self.requests.follow(method, url, self.name);
        let (mut answer, mut part) = match (answer, rest) {
            (Ok(answer), Some(part)) if part.is_continued_by(&answer, expected) => (answer, part),
            // The server refuses or does not know ranges, or the content is another one.
            (Ok(answer), Some(_)) if answer.response.status() == 206 => {
                drop(answer);
                return self.received(None, expected, left);
            }
            (Ok(answer), _) => {
                self.check_headers(&answer, expected)?;
                let part = self.begun(&answer, expected)?;
                (answer, part)
            }
            (Err(error), Some(_)) if error.wait().is_none() => {
                return self.received(None, expected, left);
            }
            (Err(error), part) => {
                *left = part;
                return Err(error);
            }
        };
        match self.append(&mut answer, &mut part, expected) {
            Ok(()) => Ok(part),
            Err(error) => {
                *left = Some(part);
                Err(error)
            }
        }
    }

    /// An empty part.
    fn begun(&self, answer: &Answer, expected: &Expected) -> Result<Part, HubError> {
        let path = self.folder.blob(&expected.etag);
        let checksum = Checksum::of(&expected.etag, Some(expected.size));
        if !checksum.is_known() {
            tracing::debug!("{}: only the length can be verified", self.name);
        }
        Ok(Part {
            file: NewFile::create(&path).map_err(HubError::io(&path))?,
            checksum,
            done: 0,
            etag: header(answer.response.headers(), "etag").map(str::to_string),
        })
    }

    /// Appends what the answer has to a part.
    fn append(
        &self,
        answer: &mut Answer,
        part: &mut Part,
        expected: &Expected,
    ) -> Result<(), HubError> {
        let path = self.folder.blob(&expected.etag);
        let mut body = answer.response.body_mut().as_reader();
        let mut buffer = vec![0; BLOCK];
        loop {
            let (read, lost) = filled(&mut body, &mut buffer);
            part.done += read as u64;
            if part.done <= expected.size {
                part.checksum.update(&buffer[..read]);
                part.file
                    .write_all(&buffer[..read])
                    .map_err(HubError::io(&path))?;
            }
            if let Some(error) = lost {
                return Err(self.broken(error, part.done, expected));
            }
            if read == 0 || part.done > expected.size {
                return Ok(());
            }
            (self.requests.hub().progress)(Transfer {
                file: self.name,
                done: part.done,
                size: expected.size,
            });
        }
    }

    /// Whether the answer to the second request is about the same content as the first.
    fn check_headers(&self, answer: &Answer, expected: &Expected) -> Result<(), HubError> {
        let headers = answer.response.headers();
        // A server that stores files for the hub has ETags of its own.
        let found = etag(headers).filter(|_| answer.is_own);
        if let Some(found) = found.filter(|found| *found != expected.etag) {
            let why = format!(
                "it has changed between two requests: ETag {} expected, found {found}: try again",
                expected.etag
            );
            return Err(self.damaged(why));
        }
        let length = header(headers, "content-length").and_then(|length| length.parse().ok());
        match length.filter(|length: &u64| *length != expected.size) {
            None => Ok(()),
            Some(length) => Err(self.wrong_length(length, expected)),
        }
    }

    fn check_content(
        &self,
        done: u64,
        checksum: Checksum,
        expected: &Expected,
    ) -> Result<(), HubError> {
        if done != expected.size {
            return Err(self.wrong_length(done, expected));
        }
        match checksum.finish().filter(|found| *found != expected.etag) {
            None => Ok(()),
            Some(found) => {
                let why = format!(
                    "other bytes arrived: checksum {} expected, found {found}: try again, \
                     without a proxy if there is one",
                    expected.etag
                );
                Err(self.damaged(why))
            }
        }
    }

    fn wrong_length(&self, found: u64, expected: &Expected) -> HubError {
        let size = expected.size;
        self.damaged(format!("{size} bytes expected, found {found}: try again"))
    }

    /// The error for a content that ends before its end.
    fn broken(&self, error: std::io::Error, done: u64, expected: &Expected) -> HubError {
        let lost = self.requests.lost(self.name, &ureq::Error::from(error));
        match lost {
            HubError::Unreachable {
                repository,
                place,
                why,
            } => HubError::Unreachable {
                repository,
                place,
                why: format!("after {done} of {} bytes: {why}", expected.size),
            },
            other => other,
        }
    }
}

/// Fills a buffer as far as there are bytes; how many, and why there are no more.
fn filled(from: &mut impl Read, buffer: &mut [u8]) -> (usize, Option<std::io::Error>) {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) => return (filled, Some(error)),
        }
    }
    (filled, None)
}

/// The ETag of a content that the hub links to, or else of the answer itself, if it can be
/// the name of a file.
fn etag(headers: &HeaderMap) -> Option<String> {
    let text = header(headers, "x-linked-etag").or_else(|| header(headers, "etag"))?;
    let text = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let usable = (1..=128).contains(&text.len()) && text.bytes().all(known);
    usable.then(|| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_that_could_leave_the_folder_is_none() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("etag", text.parse().unwrap());
            etag(&headers)
        };
        assert_eq!(of("\"abc-1\"").as_deref(), Some("abc-1"));
        assert_eq!(of("W/\"abc\"").as_deref(), Some("abc"));
        for text in ["\"../../x\"", "\"\"", "\"a/b\"", "\"a.lock\""] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
