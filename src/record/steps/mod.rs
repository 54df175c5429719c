//! The steps between reading fields and writing them: what each is told, and what it does to a record. They know neither
//! formats nor the chain. Invariant: a step keeps no record, only counts and buffers.

mod edit;
mod filter;
mod limit;
mod redact;
mod single_line;

pub(super) use edit::Edit;
pub(super) use filter::Filter;
pub use filter::{Condition, Number, Order, Test};
pub use limit::Limit;
pub(super) use limit::Limiter;
pub use redact::{Key, Redact, Replacement, UnknownGroup, With};
pub use single_line::SingleLine;
