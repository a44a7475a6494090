//! The outputs of drawn images.

use std::path::PathBuf;

use anyhow::{Error, Result};
use candle_core::Tensor;
use pixelcnn_models::ImageShape;

use crate::animation::Animation;
use crate::output::{NpyWriter, Number, Target, Unread, create_folder, is_read, together, wrote};
use crate::picture::{self, Grid, GridWriter};
use pixelcnn_system::counted;

/// The outputs for drawn images.
pub(crate) struct Plan {
    /// All images side by side.
    pub out: Option<Target>,
    /// One picture per image.
    pub folder: Option<PathBuf>,
    /// The values of all images.
    pub npy: Option<Target>,
    /// All images side by side, growing.
    pub animate: Option<Target>,
    /// Number of images.
    pub images: usize,
    /// Their shape.
    pub image: ImageShape,
    /// The layout of the picture.
    pub grid: Grid,
    /// Images shown before the images of each condition, `[n, c, h, w]`.
    pub before: Vec<Tensor>,
    /// Number of images per condition.
    pub of_each: usize,
}

impl Plan {
    /// Whether an output shows values as shades of 8 bits.
    pub(crate) fn has_shades(&self) -> bool {
        let folder = self.folder.is_some() && self.image.levels < 256;
        self.out.is_some() || self.animate.is_some() || folder
    }
}

/// The files of a plan while they are written. If one fails, the others
/// continue.
pub(crate) struct Files {
    plan: Plan,
    grid: Option<GridWriter>,
    npy: Option<NpyWriter>,
    animation: Option<Animation>,
    folder: Option<PathBuf>,
    seen: usize,
    errors: Vec<Error>,
}

impl Files {
    /// Starts all files.
    pub(crate) fn create(plan: Plan) -> Result<Self> {
        let image = plan.image;
        let form = (image.channels, image.levels);
        let grid = plan.out.as_ref();
        let grid = grid.map(|out| GridWriter::create(out, plan.grid, form));
        let shape = [plan.images, image.channels, image.height, image.width];
        let number = Number::of_levels(image.levels);
        let npy = plan.npy.as_ref();
        let npy = npy.map(|npy| NpyWriter::create(npy, &shape, number));
        Ok(Self {
            grid: grid.transpose()?,
            npy: npy.transpose()?,
            animation: plan
                .animate
                .as_ref()
                .map(|_| Animation::new(plan.grid, image)),
            folder: plan.folder.clone(),
            plan,
            seen: 0,
            errors: Vec::new(),
        })
    }

    /// Takes the next image, `[c, h, w]`. Fails when all files have failed.
    pub(crate) fn image(&mut self, values: &[u32]) -> Result<()> {
        let (index, image) = (self.seen, self.plan.image);
        self.seen += 1;
        if index.is_multiple_of(self.plan.of_each) {
            for tensor in &self.plan.before {
                let given = picture::values_of(&tensor.get(index / self.plan.of_each)?)?;
                attempt(&mut self.grid, &mut self.errors, |grid| grid.image(&given));
            }
        }
        let errors = &mut self.errors;
        let digits = (self.plan.images - 1).to_string().len();
        attempt(&mut self.folder, errors, |folder| {
            if index == 0 {
                create_folder(folder)?;
            }
            let path = folder.join(format!("{index:0digits$}.png"));
            picture::write_image(&Target::File(path), values, image)
        });
        attempt(&mut self.npy, errors, |npy| npy.values(values));
        attempt(&mut self.animation, errors, |all| all.image(values));
        attempt(&mut self.grid, errors, |grid| grid.image(values));
        let wanted = |target: &Option<Target>| *target != Some(Target::StandardOutput) || is_read();
        let plan = &self.plan;
        let left = [
            (self.folder.is_some(), true),
            (self.npy.is_some(), wanted(&plan.npy)),
            (self.animation.is_some(), wanted(&plan.animate)),
            (self.grid.is_some(), wanted(&plan.out)),
        ];
        match (left.contains(&(true, true)), left.contains(&(true, false))) {
            (true, _) => Ok(()),
            (false, true) if self.errors.is_empty() => Err(Unread.into()),
            // Without errors, there is only a preview.
            (false, _) => together(self.errors.drain(..).map(Err)),
        }
    }

    /// Moves the finished files to their final names; combines the errors of all
    /// failed files.
    pub(crate) fn finish(self) -> Result<()> {
        let plan = &self.plan;
        let images = counted(plan.images, "image");
        let said = |written: Result<()>, target: &Option<Target>| {
            written.inspect(|()| target.iter().for_each(|target| target.wrote(&images)))
        };
        let mut results: Vec<_> = self.errors.into_iter().map(Err).collect();
        if let Some(folder) = &self.folder {
            wrote(folder.display(), &images);
        }
        results.extend(self.grid.map(|grid| said(grid.finish(), &plan.out)));
        results.extend(self.npy.map(|npy| said(npy.finish(), &plan.npy)));
        if let (Some(animation), Some(target)) = (self.animation, &plan.animate) {
            results.push(said(animation.finish(target), &plan.animate));
        }
        together(results)
    }
}

/// Works on the file if it exists, and drops it if the work fails.
fn attempt<T>(
    slot: &mut Option<T>,
    errors: &mut Vec<Error>,
    work: impl FnOnce(&mut T) -> Result<()>,
) {
    if let Some(Err(error)) = slot.as_mut().map(work) {
        errors.push(error);
        *slot = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::ZoomFlag;

    #[test]
    fn images_that_are_only_previewed_need_no_file() {
        let image = ImageShape {
            channels: 1,
            height: 1,
            width: 2,
            levels: 256,
        };
        let plan = Plan {
            out: None,
            folder: None,
            npy: None,
            animate: None,
            images: 2,
            image,
            grid: Grid::new(2, (1, 2), 2, ZoomFlag { zoom: None }),
            before: Vec::new(),
            of_each: 2,
        };
        let mut files = Files::create(plan).unwrap();
        files.image(&[1, 2]).unwrap();
        files.image(&[3, 4]).unwrap();
        files.finish().unwrap();
    }
}
