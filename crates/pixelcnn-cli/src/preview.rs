//! Shows images in a terminal while they grow, two pixels per character.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use console::Term;
use pixelcnn_models::ImageShape;

/// Time between two frames.
const PAUSE: Duration = Duration::from_millis(80);
/// Colour of pixels that are not drawn yet.
const BLANK: [u8; 3] = [40, 40, 40];

/// As many images, side by side and in lines, as fit.
pub(crate) struct Preview {
    terminal: Term,
    image: ImageShape,
    size: (usize, usize),
    /// RGB, by image, row and column.
    pixels: Vec<[u8; 3]>,
    shown: usize,
    /// Images of a line.
    columns: usize,
    drawn: Option<Instant>,
}

impl Preview {
    /// # Errors
    ///
    /// If standard error is not a terminal, or the terminal is too small.
    pub(crate) fn start(image: ImageShape, count: usize, size: (usize, usize)) -> Result<Self> {
        let terminal = Term::stderr();
        if !terminal.is_term() {
            bail!("--preview: standard error is not a terminal");
        }
        let (rows, columns) = terminal.size();
        let (rows, columns) = (usize::from(rows), usize::from(columns));
        if size.0.div_ceil(2) >= rows || size.1 >= columns {
            let (height, width) = size;
            bail!(
                "--preview: {height} x {width} pixels do not fit: the terminal has {rows} lines of {columns}"
            );
        }
        // The last line of the terminal is that of the cursor.
        let lines = (rows - 1) / size.0.div_ceil(2);
        let columns = columns / (size.1 + 1);
        let shown = count.min(columns * lines);
        Ok(Self {
            terminal,
            image,
            size,
            pixels: vec![BLANK; shown * size.0 * size.1],
            shown,
            columns,
            drawn: None,
        })
    }

    /// Takes a row `[column, channel]`, and redraws from time to time.
    pub(crate) fn row(&mut self, image: usize, row: usize, values: &[u32]) {
        if image >= self.shown {
            return;
        }
        let (height, width) = self.size;
        let start = (image * height + row) * width;
        let pixels = values.chunks(self.image.channels);
        for (pixel, values) in self.pixels[start..start + width].iter_mut().zip(pixels) {
            *pixel = colour(values, self.image.levels);
        }
        if self.drawn.is_none_or(|drawn| drawn.elapsed() >= PAUSE) || row + 1 == height {
            // If the terminal is closed, sampling continues.
            let _ = self.draw();
        }
    }

    fn draw(&mut self) -> std::io::Result<()> {
        let text = frame(&self.pixels, self.columns, self.size);
        if self.drawn.is_some() {
            self.terminal.move_cursor_up(text.lines().count())?;
        }
        self.drawn = Some(Instant::now());
        self.terminal.write_all(text.as_bytes())
    }
}

fn colour(values: &[u32], levels: usize) -> [u8; 3] {
    let shade = |value: u32| (u64::from(value) * 255 / (levels as u64 - 1)) as u8;
    match values {
        [red, green, blue] => [shade(*red), shade(*green), shade(*blue)],
        [first, ..] => [shade(*first); 3],
        [] => BLANK,
    }
}

/// One line of text for two rows: the upper pixel is the foreground of a half
/// block, the lower pixel its background. `columns` images stand side by side.
fn frame(pixels: &[[u8; 3]], columns: usize, (height, width): (usize, usize)) -> String {
    let mut text = String::new();
    let images: Vec<_> = pixels.chunks(height * width).collect();
    for images in images.chunks(columns) {
        for row in (0..height).step_by(2) {
            for image in images {
                for column in 0..width {
                    let pixel = |row: usize| image.get(row * width + column).copied();
                    let [r, g, b] = pixel(row).unwrap_or([0; 3]);
                    let [x, y, z] = pixel(row + 1).unwrap_or([0; 3]);
                    // Writing to a string does not fail.
                    let _ = write!(text, "\x1b[38;2;{r};{g};{b};48;2;{x};{y};{z}m\u{2580}");
                }
                text.push_str("\x1b[0m ");
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rows_are_one_line_of_half_blocks() {
        let pixels = [
            [1, 2, 3],
            [4, 5, 6],
            [7, 8, 9],
            [1, 1, 1],
            [2, 2, 2],
            [3, 3, 3],
        ];
        let text = frame(&pixels, 1, (3, 2));
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("\x1b[38;2;1;2;3;48;2;7;8;9m\u{2580}\x1b[38;2;4;5;6;48;2;1;1;1m"));
        assert!(text.contains("\x1b[38;2;2;2;2;48;2;0;0;0m"));
        // Three images of 1 x 2 pixels, two of them side by side.
        let text = frame(&pixels, 2, (1, 2));
        let halves: Vec<_> = text
            .lines()
            .map(|line| line.matches('\u{2580}').count())
            .collect();
        assert_eq!(halves, [4, 2]);
        assert_eq!(colour(&[3, 0, 1], 4), [255, 0, 85]);
        assert_eq!(colour(&[1], 2), [255; 3]);
    }
}
