//! Downloads that succeed, and the cache.

use std::sync::{Arc, Mutex};

use pixelcnn_hub::{Hub, Repository, Transfer};

use crate::server::{COMMIT, Fault, LARGE, Server, etag, repository};

/// Fetches both files and returns the folder.
fn fetch(hub: &Hub, repository: &Repository) -> std::path::PathBuf {
    let snapshot = hub.open(repository).unwrap();
    snapshot.fetch("model.safetensors").unwrap();
    snapshot.fetch("config.json").unwrap();
    snapshot.finish().unwrap()
}

fn check(server: &Server, folder: &std::path::Path) {
    for file in ["config.json", "model.safetensors"] {
        assert_eq!(
            std::fs::read(folder.join(file)).unwrap(),
            server.content(file)
        );
    }
}

#[test]
fn the_cache_has_the_layout_of_the_python_library() {
    let server = Server::new(Fault::None);
    let folder = fetch(&server.hub(), &repository());
    check(&server, &folder);
    let own = server.folder();
    assert_eq!(folder, own.join("snapshots").join(COMMIT));
    assert_eq!(
        std::fs::read_to_string(own.join("refs/main")).unwrap(),
        COMMIT
    );
    let tag = etag("model.safetensors", &server.content("model.safetensors"));
    assert!(own.join("blobs").join(&tag).is_file());
    #[cfg(unix)]
    {
        let link = std::fs::read_link(folder.join("model.safetensors")).unwrap();
        assert_eq!(link, std::path::Path::new("../../blobs").join(tag));
    }
    let methods = ["GET /api/", "HEAD ", "GET ", "HEAD ", "GET "];
    let requests = server.requests();
    assert_eq!(requests.len(), methods.len());
    for (request, method) in requests.iter().zip(methods) {
        assert!(request.line.starts_with(method), "{}", request.line);
        assert!(!request.headers.contains_key("authorization"));
        assert!(!request.headers.contains_key("range"));
    }
}

#[test]
fn progress_is_reported_to_the_end() {
    let server = Server::new(Fault::None);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&seen);
    let hub = Hub {
        progress: Arc::new(move |now: Transfer<'_>| {
            shared
                .lock()
                .unwrap()
                .push((now.file.to_string(), now.done, now.size));
        }),
        ..server.hub()
    };
    fetch(&hub, &repository());
    let seen = seen.lock().unwrap();
    let large: Vec<_> = seen
        .iter()
        .filter(|(file, ..)| file == "model.safetensors")
        .collect();
    assert!(large.len() > 1 && large.windows(2).all(|pair| pair[0].1 < pair[1].1));
    assert_eq!(large.last().unwrap().1, LARGE as u64);
    assert!(large.iter().all(|(.., size)| *size == LARGE as u64));
}

#[test]
fn a_file_on_another_server_is_verified_and_the_token_stays() {
    let server = Server::new(Fault::Elsewhere);
    let hub = Hub {
        token: Some("hf_secret".into()),
        ..server.hub()
    };
    check(&server, &fetch(&hub, &repository()));
    let requests = server.requests();
    let stored = |line: &str| line.contains("/stored/");
    assert_eq!(
        requests
            .iter()
            .filter(|request| stored(&request.line))
            .count(),
        2
    );
    for request in requests {
        let token = request.headers.get("authorization").map(String::as_str);
        let expected = (!stored(&request.line)).then_some("Bearer hf_secret");
        assert_eq!(token, expected, "{}", request.line);
    }
}

#[test]
fn a_renamed_repository_is_followed() {
    let server = Server::new(Fault::Renamed);
    check(&server, &fetch(&server.hub(), &repository()));
}

#[test]
fn revisions_may_have_slashes_and_may_be_commits() {
    let server = Server::new(Fault::None);
    let slashes = Repository::model("owner/name@refs/pr/1").unwrap();
    check(&server, &fetch(&server.hub(), &slashes));
    let line = &server.requests()[0].line;
    assert!(
        line.contains("/api/models/owner/name/revision/refs%2Fpr%2F1 "),
        "{line}"
    );
    let reference = server.folder().join("refs/refs/pr/1");
    assert_eq!(std::fs::read_to_string(reference).unwrap(), COMMIT);
    let commit = Repository::model(&format!("owner/name@{COMMIT}")).unwrap();
    let hub = Hub {
        offline: true,
        ..server.hub()
    };
    check(&server, &fetch(&hub, &slashes));
    check(&server, &fetch(&hub, &commit));
    assert!(hub.open(&repository()).is_err());
    let names: Vec<_> = hub
        .cached()
        .unwrap()
        .iter()
        .map(|one| one.repository.to_string())
        .collect();
    assert_eq!(names, ["hf:owner/name@refs/pr/1"]);
}

#[test]
fn without_the_network_the_cache_is_used() {
    let server = Server::new(Fault::None);
    let folder = fetch(&server.hub(), &repository());
    server.requests();
    let offline = Hub {
        offline: true,
        ..server.hub()
    };
    assert_eq!(fetch(&offline, &repository()), folder);
    assert!(server.requests().is_empty());
    let nowhere = Hub {
        endpoint: "http://127.0.0.1:1".into(),
        ..server.hub()
    };
    assert_eq!(fetch(&nowhere, &repository()), folder);
    for fault in [Fault::Reset, Fault::Status(500, ""), Fault::Status(429, "")] {
        server.set(fault);
        assert_eq!(fetch(&server.hub(), &repository()), folder);
    }
    // But a refusal is an answer.
    server.set(Fault::Status(404, ""));
    assert!(server.hub().open(&repository()).is_err());
    let snapshot = offline.open(&repository()).unwrap();
    let error = snapshot.fetch("data/a b.parquet").unwrap_err().to_string();
    assert!(error.contains("not in the cache"), "{error}");
}

#[test]
fn only_known_files_are_fetched() {
    let server = Server::new(Fault::None);
    let snapshot = server.hub().open(&repository()).unwrap();
    server.requests();
    for (file, part) in [
        ("model.py", "only files that end in .json"),
        ("../config.json", "only files that end in .json"),
        ("tokenizer.json", "no such file"),
    ] {
        let error = snapshot.fetch(file).unwrap_err().to_string();
        assert!(
            error.contains(part) && error.contains("hf:owner/name"),
            "{error}"
        );
    }
    assert!(server.requests().is_empty());
    let path = snapshot.fetch("data/a b.parquet").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"PAR1");
    assert!(path.ends_with("data/a b.parquet"));
}

/// Lock files and partial files of killed programs do not block, and partial files are removed.
#[test]
fn remains_of_killed_programs_do_no_harm() {
    let server = Server::new(Fault::None);
    let tag = etag("model.safetensors", &server.content("model.safetensors"));
    let blobs = server.folder().join("blobs");
    let locks = server.cache.path().join(".locks/models--owner--name");
    for folder in [&blobs, &locks] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::fs::write(locks.join(format!("{tag}.lock")), "").unwrap();
    std::fs::write(blobs.join(format!("{tag}.lock")), "").unwrap();
    let partial = blobs.join(format!(".{tag}.x1y2z3.pixelcnn-partial"));
    std::fs::write(&partial, "part").unwrap();
    // Another library may have renamed a part of the file.
    std::fs::write(blobs.join(&tag), "part").unwrap();
    check(&server, &fetch(&server.hub(), &repository()));
    assert!(!partial.exists());
}
