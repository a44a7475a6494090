//! After every mistake of the server, the cache has only whole, right files, the message
//! names cause and remedy, and the next try succeeds.

use std::time::Duration;

use pixelcnn_hub::{Hub, HubError};

use crate::server::{COMMIT, Fault, LARGE, PIECE, Rest, Server, etag, repository};

fn fetch(hub: &Hub) -> Result<(), HubError> {
    let snapshot = hub.open(&repository())?;
    snapshot.fetch("model.safetensors")?;
    snapshot.fetch("config.json")?;
    snapshot.finish()?;
    Ok(())
}

/// Every file of the cache is a whole blob under its own checksum, a link to one, or the commit
/// of a finished revision.
fn check_cache(server: &Server, fault: Fault) {
    for (path, content) in server.cached() {
        let file = match content.len() > 1000 {
            true => "model.safetensors",
            false => "config.json",
        };
        if path.ends_with("refs/main") {
            assert_eq!(content, COMMIT.as_bytes(), "{fault:?}");
            continue;
        }
        assert_eq!(content, server.content(file), "{fault:?}: {path}");
        let blob = format!("models--owner--name/blobs/{}", etag(file, &content));
        let link = format!("models--owner--name/snapshots/{COMMIT}/{file}");
        assert!(path == blob || path == link, "{fault:?}: {path}");
    }
}

fn check(fault: Fault, parts: &[&str]) {
    let server = Server::new(fault);
    let hub = Hub {
        patience: match fault {
            Fault::Slow => Duration::from_secs(2),
            _ => server.hub().patience,
        },
        pauses: match fault {
            Fault::Slow => Vec::new(),
            _ => server.hub().pauses,
        },
        ..server.hub()
    };
    let error = fetch(&hub).unwrap_err().to_string();
    for part in [&["hf:owner/name"], parts].concat() {
        assert!(error.contains(part), "{fault:?}: {part} is not in: {error}");
    }
    check_cache(&server, fault);
    assert!(!server.folder().join("refs").exists(), "{fault:?}");
    // Nothing of the failed try is in the way.
    server.set(Fault::None);
    fetch(&server.hub()).unwrap();
    check_cache(&server, fault);
    assert_eq!(server.cached().len(), 5, "{fault:?}");
    // What is there is not asked for again, and a failing server does no harm to it.
    server.requests();
    fetch(&server.hub()).unwrap();
    assert_eq!(server.requests().len(), 1, "{fault:?}");
}

#[test]
fn a_private_repository_needs_a_token() {
    check(
        Fault::Status(401, "X-Error-Code: RepoNotFound\r\n"),
        &[
            "(status 401)",
            "no such repository, or it is private",
            "set HF_TOKEN",
        ],
    );
}

#[test]
fn a_gated_repository_needs_an_agreement() {
    let parts = [
        "accept the conditions on http://127.0.0.1",
        "owner/name",
        "HF_TOKEN",
    ];
    check(
        Fault::FileStatus(403, "X-Error-Code: GatedRepo\r\n"),
        &parts,
    );
    check(
        Fault::FileStatus(401, "X-Error-Code: GatedRepo\r\n"),
        &parts,
    );
}

#[test]
fn a_token_that_is_refused_is_named() {
    let server = Server::new(Fault::Status(401, ""));
    let hub = Hub {
        token: Some("hf_secret".into()),
        ..server.hub()
    };
    let error = fetch(&hub).unwrap_err().to_string();
    assert!(
        error.contains("the token in HF_TOKEN is not valid"),
        "{error}"
    );
    assert!(!error.contains("hf_secret") && !format!("{hub:?}").contains("hf_secret"));
}

#[test]
fn what_does_not_exist_is_named() {
    check(Fault::Status(404, ""), &["(status 404)", "check the name"]);
    check(
        Fault::Status(404, "X-Error-Code: RevisionNotFound\r\n"),
        &["no revision main", "branches and tags"],
    );
    check(
        Fault::FileStatus(404, "X-Error-Code: EntryNotFound\r\n"),
        &["model.safetensors", "no such file"],
    );
}

#[test]
fn a_limit_of_requests_says_how_long_to_wait() {
    check(
        Fault::FileStatus(429, "Retry-After: 95\r\n"),
        &[
            "(status 429)",
            "try again after 95 seconds",
            "with HF_TOKEN",
        ],
    );
}

#[test]
fn a_failed_server_is_named() {
    check(
        Fault::Status(500, ""),
        &["(status 500)", "has failed: try again later"],
    );
    check(
        Fault::FileStatus(503, ""),
        &["(status 503)", "has failed: try again later"],
    );
}

#[test]
fn a_partial_answer_to_a_whole_request_is_refused() {
    check(
        Fault::FileStatus(206, ""),
        &["(status 206)", "check HF_ENDPOINT"],
    );
}

#[test]
fn a_truncated_file_is_not_kept() {
    check(
        Fault::Truncated,
        &["model.safetensors", "of 700001 bytes", "try again"],
    );
}

#[test]
fn a_file_of_another_length_is_not_kept() {
    check(
        Fault::WrongLength,
        &[
            "700001 bytes expected, found 700000",
            "try again",
            "nothing of it was kept",
        ],
    );
}

#[test]
fn a_file_with_other_bytes_is_not_kept() {
    check(
        Fault::WrongBytes,
        &["other bytes arrived", "checksum", "try again"],
    );
}

#[test]
fn endless_redirections_end() {
    check(
        Fault::Loop,
        &["redirected more than 20 times", "check HF_ENDPOINT"],
    );
}

#[test]
fn a_body_that_stops_is_given_up() {
    check(
        Fault::Slow,
        &[
            "nothing arrived for 2 seconds",
            "of 700001 bytes",
            "HF_HUB_DOWNLOAD_TIMEOUT",
        ],
    );
}

#[test]
fn a_lost_connection_is_named() {
    check(
        Fault::Reset,
        &[
            "the connection failed",
            "check the network",
            "HF_HUB_OFFLINE=1",
        ],
    );
}

#[test]
fn a_file_that_changes_between_two_requests_is_not_kept() {
    check(
        Fault::Changed,
        &["has changed between two requests", "try again"],
    );
}

/// The byte from which each request for the weights asked.
fn asked(server: &Server) -> Vec<usize> {
    let requests = server.requests();
    let weights = requests
        .iter()
        .filter(|it| it.line.starts_with("GET") && it.line.contains(".safetensors"));
    let from = |range: &String| {
        range["bytes=".len()..]
            .trim_end_matches('-')
            .parse()
            .unwrap()
    };
    weights
        .map(|it| it.headers.get("range").map_or(0, from))
        .collect()
}

#[test]
fn after_a_lost_connection_the_rest_is_asked_for() {
    for (rest, requests) in [
        (Rest::Sent, 2),
        (Rest::Whole, 2),
        (Rest::OfAnother, 3),
        (Rest::Elsewhere, 3),
        (Rest::Refused, 3),
    ] {
        let server = Server::new(Fault::Lost(rest));
        fetch(&server.hub()).unwrap_or_else(|error| panic!("{rest:?}: {error}"));
        check_cache(&server, Fault::Lost(rest));
        assert_eq!(server.cached().len(), 5, "{rest:?}");
        let asked = asked(&server);
        assert_eq!(asked.len(), requests, "{rest:?}: {asked:?}");
        // The first transfer ended in the middle; a third begins again.
        assert!(
            asked[0] == 0 && asked[1] > 0 && asked[1] < LARGE,
            "{asked:?}"
        );
        assert!(asked[2..].iter().all(|start| *start == 0), "{asked:?}");
    }
}

/// More tries than there are pauses, because each brings more.
#[test]
fn a_bad_connection_is_not_given_up_while_it_brings_more() {
    let server = Server::new(Fault::Pieces);
    fetch(&server.hub()).unwrap();
    check_cache(&server, Fault::Pieces);
    let asked = asked(&server);
    assert_eq!(asked.len(), LARGE.div_ceil(PIECE), "{asked:?}");
    assert!(asked.is_sorted() && asked[7] == 7 * PIECE, "{asked:?}");
}

#[test]
fn requests_that_may_succeed_later_are_repeated() {
    for fault in [
        Fault::Busy(503, ""),
        Fault::Busy(500, ""),
        Fault::Busy(429, "Retry-After: 0\r\n"),
    ] {
        let server = Server::new(fault);
        fetch(&server.hub()).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        check_cache(&server, fault);
        // The list of files, and the description and content of two files, each asked twice.
        assert_eq!(server.requests().len(), 10, "{fault:?}");
        let other = Server::new(fault);
        let impatient = Hub {
            pauses: Vec::new(),
            ..other.hub()
        };
        assert!(fetch(&impatient).is_err(), "{fault:?}");
    }
}

/// An answer that makes no sense is not taken for a bad network.
#[test]
fn answers_without_sense_are_named_at_once() {
    for (fault, part) in [
        (
            Fault::Astray("file:///etc/passwd"),
            "redirected to no address",
        ),
        (Fault::Astray("http://[odd"), "invalid authority"),
        (Fault::Endless, "larger than"),
    ] {
        let server = Server::new(fault);
        let error = fetch(&server.hub()).unwrap_err().to_string();
        assert!(error.contains(part), "{fault:?}: {error}");
        assert!(error.contains("check HF_ENDPOINT"), "{fault:?}: {error}");
        assert_eq!(server.requests().len(), 1, "{fault:?}");
    }
}

#[test]
fn requests_that_would_fail_again_are_not_repeated() {
    for fault in [
        Fault::Status(404, ""),
        Fault::Status(401, ""),
        // Nobody waits for an hour.
        Fault::Status(429, "Retry-After: 3600\r\n"),
    ] {
        let server = Server::new(fault);
        assert!(fetch(&server.hub()).is_err(), "{fault:?}");
        assert_eq!(server.requests().len(), 1, "{fault:?}");
    }
}

#[test]
fn a_server_is_asked_as_often_as_there_are_pauses() {
    let server = Server::new(Fault::Status(503, ""));
    let hub = Hub {
        pauses: vec![Duration::from_millis(1); 3],
        ..server.hub()
    };
    assert!(fetch(&hub).is_err());
    assert_eq!(server.requests().len(), 4);
}
