//! Power cuts on the simulated disk.

use crate::Finished;
use anyhow::{Result, bail};

pub fn run(_seed: u64, _short: bool) -> Result<Finished> {
    bail!("the simulated power cuts are not written yet")
}
