//! `weir disk`: a disk whose appliance is stopped.

use crate::args::{DiskArgs, DiskVerb};
use crate::error::{Error, Result};
use crate::output;
use std::path::Path;
use storage::Target;

pub fn run(args: DiskArgs) -> Result<()> {
    match args.verb {
        DiskVerb::AcceptLoss { data } => accept_loss(&data),
    }
}

fn accept_loss(data: &Path) -> Result<()> {
    // Storage would begin a new disk there.
    if !data.join("weir-disk.json").exists() {
        return Err(Error::NotFound(format!("{} is no disk of a weir: weir-disk.json is not there", data.display())));
    }
    let accepted = Target::accept_loss(data)?;
    for loss in &accepted {
        output::line(format_args!("accepted as lost: {loss}"));
    }
    match accepted.len() {
        0 => output::line("nothing is lost"),
        _ => output::line("The next start serves what is left. What was only there cannot be read again."),
    }
    Ok(())
}
