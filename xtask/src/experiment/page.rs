//! What an experiment reports, before it is written as Markdown, HTML and JSON.

use serde::Serialize;
use serde_json::{Map, Value};

/// One page. Its texts are Markdown: `code`, **bold** and [links](page.md).
#[derive(Debug, Default, Serialize)]
pub struct Page {
    pub title: String,
    /// Paragraphs.
    pub notes: Vec<String>,
    /// The numbers that an index shows of it.
    pub headline: String,
    /// Other pages, of an index.
    pub entries: Vec<Entry>,
    pub tables: Vec<Table>,
    pub pictures: Vec<Picture>,
    /// As they were run, for a shell.
    pub commands: Vec<String>,
    /// What the JSON alone holds: the answers with all their digits.
    #[serde(flatten)]
    pub numbers: Map<String, Value>,
}

/// The first column is text, the others are numbers.
#[derive(Debug, Serialize)]
pub struct Table {
    pub caption: String,
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// A picture, whose caption is also what stands for it where it is not shown.
#[derive(Debug, Serialize)]
pub struct Picture {
    /// From the folder of the page.
    pub file: String,
    pub caption: String,
    /// What its rows of equal height show, from the top, as plain text; may be empty.
    pub rows: Vec<String>,
}

/// What an index shows of another page.
#[derive(Debug, Serialize)]
pub struct Entry {
    pub title: String,
    /// The page, without what its name ends with; None where there is none.
    pub page: Option<String>,
    /// A picture of the page.
    pub picture: Option<String>,
    /// Its most important numbers, or why there are none.
    pub headline: String,
}

impl Table {
    /// A table with this header and no rows yet.
    pub fn new<const COLUMNS: usize>(caption: &str, header: [&str; COLUMNS]) -> Self {
        Self {
            caption: caption.to_owned(),
            header: header.map(str::to_owned).to_vec(),
            rows: Vec::new(),
        }
    }
}
