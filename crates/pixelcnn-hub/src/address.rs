//! Addresses of the web.

/// Scheme, host and port of an address.
pub(crate) fn host(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| start + at);
    &url[..end]
}

/// The address that a redirection from `url` names.
pub(crate) fn joined(url: &str, to: &str) -> String {
    match (has_scheme(to), to.starts_with("//"), to.starts_with('/')) {
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

/// Whether an address begins with a scheme; a relative one may have another address in its query.
fn has_scheme(url: &str) -> bool {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let mut letters = scheme.chars();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
}

/// Whether a redirection stays in the web, and encrypted if it was.
pub(crate) fn is_followed(from: &str, to: &str) -> bool {
    to.starts_with("https://") || (to.starts_with("http://") && from.starts_with("http://"))
}

/// Whether the server is on this machine.
pub(crate) fn is_local(endpoint: &str) -> bool {
    let host = host(endpoint).split("://").nth(1).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let loopback = |address: std::net::IpAddr| address.is_loopback();
    let address = name.trim_matches(['[', ']']).parse();
    name == "localhost" || address.is_ok_and(loopback)
}

/// A text as a part of an address.
pub(crate) fn escaped(text: &str, keep_slashes: bool) -> String {
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
            ("/c?u=https://x/y", "https://hub:1/c?u=https://x/y"),
            ("//cdn/x?u=https://y", "https://cdn/x?u=https://y"),
            ("d?u=https://y", "https://hub:1/a/d?u=https://y"),
            ("ftp://a/b", "ftp://a/b"),
        ] {
            assert_eq!(joined("https://hub:1/a/b?q=/z", to), expected);
        }
        assert_eq!(host("https://hub:1?x=/y"), "https://hub:1");
        for (from, to, followed) in [
            ("https://a/b", "http://a/b", false),
            ("https://a/b", "https://c/b", true),
            ("http://a/b", "http://a/c", true),
            ("http://a/b", "file:///etc/passwd", false),
            ("http://a/b", "ftp://a/b", false),
        ] {
            assert_eq!(is_followed(from, to), followed, "{from} {to}");
        }
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
