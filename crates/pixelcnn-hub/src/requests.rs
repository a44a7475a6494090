//! Requests to the server, and what its refusals mean.

use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

use crate::repository::is_commit;
use crate::{Hub, HubError, Kind, Repository};

/// Redirections of one request: as many as browsers follow.
const MOST_REDIRECTIONS: usize = 20;
/// Limit on the bytes of a list of files.
const LONGEST_LISTING: u64 = 64 << 20;
/// The page on which users make tokens.
const TOKENS: &str = "settings/tokens";

/// The files of a repository at one commit.
pub(crate) struct Listing {
    pub(crate) commit: String,
    pub(crate) files: Vec<String>,
}

/// Requests about one repository.
pub(crate) struct Requests {
    hub: Hub,
    repository: Repository,
    agent: Agent,
}

/// Whether a request asks for the content or only for its description.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Head,
    Get,
}

/// The last answer after all redirections.
pub(crate) struct Answer {
    pub(crate) response: Response<Body>,
    /// Whether it is that of the endpoint, not of a server that stores files for it.
    pub(crate) is_own: bool,
}

impl Requests {
    pub(crate) fn new(hub: &Hub, repository: &Repository) -> Self {
        let patience = Some(hub.patience);
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // Each redirection is checked here.
            .max_redirects(0)
            .timeout_resolve(patience)
            .timeout_connect(patience)
            .timeout_recv_response(patience)
            .timeout_per_read(patience)
            .accept_encoding("identity")
            .user_agent(concat!("pixelcnn-hub/", env!("CARGO_PKG_VERSION")));
        if is_local(&hub.endpoint) {
            // No proxy can reach a server of this machine.
            config = config.proxy(None);
        }
        Self {
            hub: hub.clone(),
            repository: repository.clone(),
            agent: config.build().into(),
        }
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The commit that the revision means, and its files.
    pub(crate) fn listing(&self) -> Result<Listing, HubError> {
        #[derive(Deserialize)]
        struct Description {
            sha: String,
            #[serde(default)]
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let kind = match self.repository.kind() {
            Kind::Model => "models",
            Kind::Dataset => "datasets",
        };
        let url = format!(
            "{}/api/{kind}/{}/revision/{}",
            self.hub.endpoint,
            self.repository.name(),
            escaped(self.repository.revision(), false)
        );
        let mut answer = self.follow(Method::Get, url.clone(), &url)?;
        let body = answer.response.body_mut().with_config();
        let body = body.limit(LONGEST_LISTING);
        let body = body
            .read_to_vec()
            .map_err(|error| self.lost(&url, &error))?;
        let answer: Description = serde_json::from_slice(&body).map_err(|error| {
            let why = format!("not the description of a repository: {error}; check HF_ENDPOINT");
            self.damaged(&url, why)
        })?;
        if !is_commit(&answer.sha) {
            let why = format!("{:?} is not a commit; check HF_ENDPOINT", answer.sha);
            return Err(self.damaged(&url, why));
        }
        Ok(Listing {
            commit: answer.sha,
            files: answer
                .siblings
                .into_iter()
                .map(|file| file.rfilename)
                .collect(),
        })
    }

    /// The address of a file at a commit.
    pub(crate) fn address(&self, commit: &str, file: &str) -> String {
        let kind = match self.repository.kind() {
            Kind::Model => "",
            Kind::Dataset => "datasets/",
        };
        let (endpoint, name) = (&self.hub.endpoint, self.repository.name());
        format!(
            "{endpoint}/{kind}{name}/resolve/{commit}/{}",
            escaped(file, true)
        )
    }

    /// The answer to a request, after all redirections, with the status 200. A redirection
    /// of a `Head` request to another server is itself the answer: the hub describes there
    /// what the other server stores.
    pub(crate) fn follow(
        &self,
        method: Method,
        mut url: String,
        place: &str,
    ) -> Result<Answer, HubError> {
        for _ in 0..MOST_REDIRECTIONS {
            let response = self.ask(method, &url, place)?;
            let is_own = host(&url) == host(&self.hub.endpoint);
            let answer = Answer { response, is_own };
            let headers = answer.response.headers();
            if !answer.response.status().is_redirection() {
                return self.accepted(answer, place);
            }
            if method == Method::Head && header(headers, "x-linked-etag").is_some() {
                return Ok(answer);
            }
            let next = header(headers, "location").map(|to| joined(&url, to));
            let Some(next) = next.filter(|next| !is_downgrade(&url, next)) else {
                let why = "redirected to no address, or to one without encryption; check \
                           HF_ENDPOINT";
                return Err(self.damaged(place, why.into()));
            };
            if method == Method::Head && host(&next) != host(&self.hub.endpoint) {
                return Ok(answer);
            }
            url = next;
        }
        let why = format!(
            "redirected more than {MOST_REDIRECTIONS} times; check HF_ENDPOINT and proxies"
        );
        Err(self.damaged(place, why))
    }

    fn ask(&self, method: Method, url: &str, place: &str) -> Result<Response<Body>, HubError> {
        let mut request = match method {
            Method::Head => self.agent.head(url),
            Method::Get => self.agent.get(url),
        };
        // Other servers must not see the token.
        let is_own = host(url) == host(&self.hub.endpoint);
        if let Some(token) = self.hub.token.as_ref().filter(|_| is_own) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        request.call().map_err(|error| self.lost(place, &error))
    }

    fn accepted(&self, answer: Answer, place: &str) -> Result<Answer, HubError> {
        match answer.response.status().as_u16() {
            200 => Ok(answer),
            status => Err(HubError::Refused {
                repository: self.repository.to_string(),
                place: place.into(),
                status,
                why: self.meaning(status, answer.response.headers()),
            }),
        }
    }

    /// What a refusal means, and what to do.
    fn meaning(&self, status: u16, headers: &HeaderMap) -> String {
        let (endpoint, name) = (&self.hub.endpoint, self.repository.name());
        let page = match self.repository.kind() {
            Kind::Model => format!("{endpoint}/{name}"),
            Kind::Dataset => format!("{endpoint}/datasets/{name}"),
        };
        let token = match self.hub.token {
            None => format!("set HF_TOKEN to a token of {endpoint}/{TOKENS}"),
            Some(_) => format!(
                "the token in HF_TOKEN is not valid or may not read it: make another at \
                 {endpoint}/{TOKENS}"
            ),
        };
        match (status, header(headers, "x-error-code").unwrap_or_default()) {
            (401 | 403, "GatedRepo") | (403, _) => {
                format!("access must be granted: accept the conditions on {page} and {token}")
            }
            (401, _) => {
                format!("there is no such repository, or it is private: check the name, or {token}")
            }
            (404, "RevisionNotFound") => {
                let revision = self.repository.revision();
                format!("there is no revision {revision}: the branches and tags are on {page}")
            }
            (404, "EntryNotFound") => format!("there is no such file: the files are on {page}"),
            (404, _) => "there is no such repository, revision or file: check the name".into(),
            (429, _) => {
                let wait = header(headers, "retry-after").and_then(|text| text.parse::<u64>().ok());
                let wait = wait.map_or("a while".into(), |seconds| format!("{seconds} seconds"));
                let more = match self.hub.token {
                    None => "; with HF_TOKEN, more requests are allowed",
                    Some(_) => "",
                };
                format!("too many requests: try again after {wait}{more}")
            }
            (500.., _) => format!("the server {endpoint} has failed: try again later"),
            _ => "an answer that this program does not understand; check HF_ENDPOINT".into(),
        }
    }

    /// The error for a lost connection.
    pub(crate) fn lost(&self, place: &str, error: &ureq::Error) -> HubError {
        HubError::Unreachable {
            repository: self.repository.to_string(),
            place: place.into(),
            why: reason(error, self.hub.patience),
        }
    }

    pub(crate) fn damaged(&self, place: &str, why: String) -> HubError {
        HubError::Damaged {
            repository: self.repository.to_string(),
            place: place.into(),
            why,
        }
    }
}

/// What a lost connection means, and what to do.
fn reason(error: &ureq::Error, patience: Duration) -> String {
    let what = match error {
        ureq::Error::Timeout(_) => {
            let seconds = patience.as_secs_f64();
            let more = "HF_HUB_DOWNLOAD_TIMEOUT sets a longer time";
            return format!(
                "nothing arrived for {seconds} seconds: try again when the network is faster; {more}"
            );
        }
        ureq::Error::HostNotFound => "the server is not known".to_string(),
        error => error.to_string(),
    };
    format!(
        "the connection failed: {what}; check the network and try again, or set \
         HF_HUB_OFFLINE=1 to use what is in the cache"
    )
}

/// The value of a header that is a text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Scheme, host and port of an address.
fn host(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| start + at);
    &url[..end]
}

/// The address that a redirection from `url` names.
fn joined(url: &str, to: &str) -> String {
    match (
        to.contains("://"),
        to.starts_with("//"),
        to.starts_with('/'),
    ) {
        (true, ..) => to.to_string(),
        (_, true, _) => format!("{}:{to}", url.split(':').next().unwrap_or("https")),
        (_, _, true) => format!("{}{to}", host(url)),
        _ => {
            let path = url.split(['?', '#']).next().unwrap_or(url);
            let folder = path.rfind('/').map_or(path, |at| &path[..at]);
            format!("{folder}/{to}")
        }
    }
}

/// Whether a redirection leaves encryption.
fn is_downgrade(from: &str, to: &str) -> bool {
    from.starts_with("https://") && !to.starts_with("https://")
}

/// Whether the server is on this machine.
fn is_local(endpoint: &str) -> bool {
    let host = host(endpoint).split("://").nth(1).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let loopback = |address: std::net::IpAddr| address.is_loopback();
    let address = name.trim_matches(['[', ']']).parse();
    name == "localhost" || address.is_ok_and(loopback)
}

/// A text as a part of an address.
fn escaped(text: &str, keep_slashes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            b'/' if keep_slashes => escaped.push('/'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_are_relative_to_their_address() {
        for (to, expected) in [
            ("https://cdn/x?y", "https://cdn/x?y"),
            ("//cdn/x", "https://cdn/x"),
            ("/c/d", "https://hub:1/c/d"),
            ("d", "https://hub:1/a/d"),
        ] {
            assert_eq!(joined("https://hub:1/a/b?q=/z", to), expected);
        }
        assert_eq!(host("https://hub:1?x=/y"), "https://hub:1");
        assert!(is_downgrade("https://a/b", "http://a/b"));
        assert!(!is_downgrade("http://a/b", "http://a/c"));
    }

    #[test]
    fn names_are_escaped_in_addresses() {
        assert_eq!(escaped("refs/pr/1", false), "refs%2Fpr%2F1");
        assert_eq!(
            escaped("data/a b=%.parquet", true),
            "data/a%20b%3D%25.parquet"
        );
    }

    #[test]
    fn servers_of_this_machine_are_known() {
        for local in ["http://localhost", "http://127.0.0.1:80", "http://[::1]:80"] {
            assert!(is_local(local), "{local}");
        }
        assert!(!is_local("https://127.example.org"));
        assert!(!is_local("https://huggingface.co"));
    }
}
