//! The report of an experiment, before it is written as Markdown, HTML and JSON.

use serde::Serialize;
use serde_json::{Map, Value};

/// One page. Its texts are Markdown: `code`, **bold** and [links](page.md).
#[derive(Debug, Default, Serialize)]
pub(crate) struct Page {
    pub title: String,
    /// Paragraphs.
    pub notes: Vec<String>,
    /// The numbers of this page in an index.
    pub headline: String,
    /// For an index: the other pages.
    pub entries: Vec<Entry>,
    pub tables: Vec<Table>,
    pub pictures: Vec<Picture>,
    /// The curves of its runs, drawn by the program.
    pub curves: Vec<Picture>,
    /// The commands that were run, for a shell.
    pub commands: Vec<String>,
    /// Only in the JSON: the answers with all their digits.
    #[serde(flatten)]
    pub numbers: Map<String, Value>,
}

/// A table: the first column is text, the others are numbers.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    pub caption: String,
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// A picture; its caption is also its alternative text.
#[derive(Debug, Serialize)]
pub(crate) struct Picture {
    /// The path, relative to the folder of the page.
    pub file: String,
    pub caption: String,
    /// The content of its rows of equal height, from the top, as plain text; may be empty.
    pub rows: Vec<String>,
}

/// The entry of a page in an index.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    pub title: String,
    /// The page without file extension; None if there is no page.
    pub page: Option<String>,
    /// A picture of the page.
    pub picture: Option<String>,
    /// Its most important numbers, or the reason why there are none.
    pub headline: String,
}

impl Table {
    /// A table with this header and no rows yet.
    pub(crate) fn new<const COLUMNS: usize>(caption: &str, header: [&str; COLUMNS]) -> Self {
        Self {
            caption: caption.to_owned(),
            header: header.map(str::to_owned).to_vec(),
            rows: Vec::new(),
        }
    }
}
