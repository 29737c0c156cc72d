//! The rooms that know Pingora: listeners, the phases of a request, upstreams, and writing responses.
//!
//! A connection of HTTP/1 begins at the [`door`], where most unpaid requests are answered. Each hook of [`gateway`] fetches
//! facts, asks the gate or the payment's ticket, and writes what came back.

mod access_log;
mod context;
mod delivered;
pub(crate) mod door;
mod failure;
mod forward;
mod gateway;
mod heads;
pub mod house;
mod judged;
mod listener;
pub mod live;
mod observer;
mod request;
mod respond;
pub mod server;
mod strip;
mod upstreams;
