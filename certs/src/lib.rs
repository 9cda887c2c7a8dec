//! Certificates of the edge: an authority of the appliance's own (`authority.rs`), pairs out of a directory (`load.rs`), what is
//! wrong with them before they are served (`check.rs`), which one a client gets (`store.rs`), client certificates (`mutual.rs`),
//! when the directory is looked at again (`watch.rs`). `edge.rs` keeps it all together for the listeners.
//!
//! *Invariant:* what is served is never replaced by something that failed a check.

mod authority;
mod check;
mod edge;
mod error;
pub mod limits;
mod load;
mod mutual;
mod names;
mod store;
mod watch;

pub use authority::{Authority, Issued, Purpose};
pub use check::{Facts, facts_of_der, only_certificate};
pub use edge::{Config, Edge, Judged, Listener, Mode, Report, Scheme, Serving, State, validate};
pub use error::{Error, Fault, Result};
pub use load::write_private;
pub use mutual::Level;
pub use names::of_machine;
pub use watch::{Reason, run};
