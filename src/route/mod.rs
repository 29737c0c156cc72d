//! Which route answers a request: canonical paths and the matcher. Pure: no socket, no config file.

mod ambiguous;
pub mod canonical;
mod escape;
pub mod host;
pub mod matcher;
mod methods;
pub mod pattern;
pub mod precedence;
