//! Requests to the server, and what its refusals mean.

use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

use crate::address::{escaped, host, is_followed, is_local, joined};
use crate::repository::is_commit;
use crate::{Hub, HubError, Kind, Repository};

/// Redirections of one request: as many as browsers follow.
const MOST_REDIRECTIONS: usize = 20;
/// Limit on the bytes of a list of files.
const LONGEST_LISTING: u64 = 64 << 20;
/// The longest pause that a server can ask for. Nobody wants to look at a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
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

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// The description of the content.
    Head,
    /// The content.
    Get,
    /// The content from this byte on.
    GetFrom(u64),
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

    /// Repeats work that failed but may succeed later, after pauses. The work must have the
    /// same effect when it is repeated.
    pub(crate) fn repeated<T>(
        &self,
        mut work: impl FnMut() -> Result<T, HubError>,
    ) -> Result<T, HubError> {
        let mut pauses = self.hub.pauses.iter();
        loop {
            let error = match work() {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let least = error.wait().filter(|least| *least <= LONGEST_PAUSE);
            let (Some(least), Some(pause)) = (least, pauses.next()) else {
                return Err(error);
            };
            let pause = least.max(*pause);
            tracing::warn!("{error}; trying again in {} s", pause.as_secs_f64());
            std::thread::sleep(pause);
        }
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

    /// The answer to a request, after all redirections, with the status 200, or, for a
    /// request for a part, 206. A redirection
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
                return self.accepted(method, answer, place);
            }
            if method == Method::Head && header(headers, "x-linked-etag").is_some() {
                return Ok(answer);
            }
            let next = header(headers, "location").map(|to| joined(&url, to));
            let Some(next) = next.filter(|next| is_followed(&url, next)) else {
                let why = "redirected to no address of the web, or to one without encryption; \
                           check HF_ENDPOINT";
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
            Method::GetFrom(start) => {
                let range = format!("bytes={start}-");
                self.agent.get(url).header("Range", range)
            }
        };
        // Other servers must not see the token.
        let is_own = host(url) == host(&self.hub.endpoint);
        if let Some(token) = self.hub.token.as_ref().filter(|_| is_own) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        request.call().map_err(|error| self.lost(place, &error))
    }

    fn accepted(&self, method: Method, answer: Answer, place: &str) -> Result<Answer, HubError> {
        let headers = answer.response.headers();
        match (answer.response.status().as_u16(), method) {
            (200, _) | (206, Method::GetFrom(_)) => Ok(answer),
            (status, _) => Err(HubError::Refused {
                repository: self.repository.to_string(),
                place: place.into(),
                status,
                retry_after: seconds_to_wait(headers).map(Duration::from_secs),
                why: self.meaning(status, headers),
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
                let wait = seconds_to_wait(headers);
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

    /// The error for a lost connection, or for an answer that makes no sense.
    pub(crate) fn lost(&self, place: &str, error: &ureq::Error) -> HubError {
        if let ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::BodyExceedsLimit(_) =
            error
        {
            return self.damaged(place, format!("{error}; check HF_ENDPOINT"));
        }
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

/// How long the server asks to wait. A date instead of a number is ignored.
fn seconds_to_wait(headers: &HeaderMap) -> Option<u64> {
    header(headers, "retry-after")?.trim().parse().ok()
}

/// The value of a header that is a text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
