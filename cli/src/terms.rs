//! The control plane as the storage engine's source of terms.

use cluster::{Applied, Command, ControlPlane};
use common::Term;
use std::sync::Arc;
use tokio::runtime::Handle;

/// For the engine's own threads, never for a thread that drives the runtime: `next_term` waits.
pub struct Terms {
    control: Arc<dyn ControlPlane>,
    runtime: Handle,
}

impl Terms {
    pub fn new(control: Arc<dyn ControlPlane>, runtime: Handle) -> Self {
        Self { control, runtime }
    }
}

impl storage::TermSource for Terms {
    fn next_term(&self, above: Term) -> Result<Term, String> {
        match self.runtime.block_on(self.control.propose(Command::NextTerm { above })) {
            Ok(Applied::Term(term)) => Ok(term),
            Ok(other) => Err(format!("the control plane gave no term but {other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::TermSource;

    #[test]
    fn threads_outside_the_runtime_get_terms() {
        let directory = tempfile::tempdir().unwrap();
        let control = cluster::EmbeddedControlPlane::open(&directory.path().join("control.redb")).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let terms = Terms::new(Arc::new(control), runtime.handle().clone());
        let given = std::thread::spawn(move || [0, 0, 9].map(|above| terms.next_term(Term(above)).unwrap().0));
        assert_eq!(given.join().unwrap(), [1, 2, 10]);
    }
}
