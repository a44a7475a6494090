//! Checks of a graph before it is used.

use candle_core::{Result, bail};

use crate::{Graph, Maps, Operation};

impl Graph {
    /// Refuses a graph whose parts do not fit together: an operation that reads later
    /// maps or a wrong number of maps, or a head that reads anything else than single
    /// pixels of its input maps.
    ///
    /// # Errors
    ///
    /// The error names the operation, what it reads and what is expected.
    ///
    /// # Example
    ///
    /// ```
    /// use pixelcnn_conv::ColourGroups;
    /// use pixelcnn_layers::{Graph, Maps};
    ///
    /// let mut graph = Graph::new(ColourGroups::new(1, 1)?);
    /// let maps = graph.relu(graph.image());
    /// assert!(graph.clone().with_head(maps, maps).check().is_ok());
    /// let odd = graph.relu(Maps::at(7));
    /// assert!(graph.with_head(odd, odd).check().is_err());
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn check(&self) -> Result<()> {
        for (index, operation) in self.operations().iter().enumerate().skip(1) {
            if let Some(maps) = operation.reads().iter().find(|maps| maps.index() >= index) {
                bail!(
                    "graph: operation {index} reads maps {}, which are not before it: do they belong to \
                     another graph?",
                    maps.index()
                );
            }
            self.check_maps(index, operation)?;
        }
        self.check_head()
    }

    fn check_maps(&self, index: usize, operation: &Operation) -> Result<()> {
        let (expected, found, what) = match operation {
            Operation::Image | Operation::Rescaled(_) | Operation::Embedding(_) => return Ok(()),
            Operation::Relu(_) | Operation::Elu(_) => return Ok(()),
            Operation::RowAbove(first, maps) => {
                (self.maps(*maps), first.elem_count(), "a first row")
            }
            Operation::Lstm(recurrence, maps) => {
                (4 * recurrence.maps(), self.maps(*maps), recurrence.name())
            }
            Operation::Convolution(convolution, maps) => {
                let inputs = convolution.weight().dim(1)?;
                (inputs, self.maps(*maps), convolution.name())
            }
            Operation::Condition(term, maps) => {
                (term.outputs()?, self.maps(*maps), "a condition's term")
            }
            Operation::Sum(one, other) => (self.maps(*one), self.maps(*other), "a sum"),
            Operation::Gate(maps) => {
                let maps = self.maps(*maps);
                (maps.next_multiple_of(2), maps, "a gate")
            }
        };
        match expected == found {
            true => Ok(()),
            false => {
                bail!("graph: operation {index}, {what}: {expected} maps expected, found {found}")
            }
        }
    }

    /// Checks that the head reads only single pixels of its input, so that the input can
    /// be given in parts.
    fn check_head(&self) -> Result<()> {
        let (head, output) = self.ends();
        let count = self.operations().len();
        if head.index() > output.index() || output.index() >= count {
            bail!(
                "graph: a head from maps {} to {} of {count}: the end must come after the start",
                head.index(),
                output.index()
            );
        }
        let mut needed = vec![output];
        let mut seen = vec![false; count];
        while let Some(maps) = needed.pop() {
            if maps == head || std::mem::replace(&mut seen[maps.index()], true) {
                continue;
            }
            self.check_of_head(maps)?;
            needed.extend(self.operations()[maps.index()].reads());
        }
        Ok(())
    }

    fn check_of_head(&self, maps: Maps) -> Result<()> {
        let (index, head) = (maps.index(), self.ends().0.index());
        let what = match &self.operations()[index] {
            _ if index < head => "earlier maps than its input".to_string(),
            Operation::Image | Operation::Rescaled(_) | Operation::Embedding(_) => {
                "the image".to_string()
            }
            Operation::RowAbove(..) => "the row above".to_string(),
            Operation::Lstm(recurrence, _) => format!("other pixels, by {}", recurrence.name()),
            Operation::Condition(..) => "a condition".to_string(),
            Operation::Convolution(convolution, _) => {
                let taps = convolution.taps();
                match taps.iter().all(|tap| (tap.row, tap.column) == (0, 0)) {
                    true => return Ok(()),
                    false => format!("neighbouring pixels, by {}", convolution.name()),
                }
            }
            _ => return Ok(()),
        };
        bail!(
            "graph: the head reads {what}, but it may only read single pixels of its input, \
             maps {head}"
        )
    }
}
