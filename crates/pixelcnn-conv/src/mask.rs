//! Masks A and B.

/// What a feature map may see at the centre of a kernel (figure 1 and
/// section 2): the pixel itself is only partly known, colour by colour.
///
/// # Example
///
/// ```
/// use pixelcnn_conv::Mask;
///
/// assert!(!Mask::A.sees(1, 1)); // G does not see G in the first layer,
/// assert!(Mask::A.sees(1, 0)); // it sees R;
/// assert!(Mask::B.sees(1, 1)); // later layers see G's own maps,
/// assert!(!Mask::B.sees(1, 2)); // never B's.
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// First layer, whose input is the image: earlier colours only.
    A,
    /// Later layers: earlier colours and the own colour's maps.
    B,
}

impl Mask {
    /// Whether a map of colour group `output` sees a map of group `input` at
    /// the centre.
    pub fn sees(self, output: usize, input: usize) -> bool {
        match self {
            Mask::A => input < output,
            Mask::B => input <= output,
        }
    }
}
