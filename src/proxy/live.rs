//! One generation at work: the gate's half and the upstreams, swapped together.

use std::sync::Arc;

use super::upstreams::Upstreams;
use crate::gate::generation::Generation;

/// What a request loads once and finishes on.
pub struct Live {
    /// Routes, offers, facilitators.
    pub generation: Arc<Generation>,
    /// Where requests are forwarded to.
    pub(super) upstreams: Arc<Upstreams>,
}
