//! What the host's EC2 metadata says, as a snapshot that somebody else renews. Knows no network.
//! Invariant: reading never waits for whoever writes.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

/// The instance that this host is. What is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    pub instance_id: Option<String>,
    pub instance_type: Option<String>,
    pub image_id: Option<String>,
    pub account_id: Option<String>,
    pub region: Option<String>,
    pub availability_zone: Option<String>,
    pub private_ip: Option<String>,
    /// The instance's tags, names as written. `None`: they could not be read.
    pub tags: Option<BTreeMap<String, String>>,
    /// When this was read, nanoseconds since 1970.
    pub read_at: i64,
}

/// The latest snapshot; none outside EC2, or before the first answer. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<RwLock<Option<Arc<Instance>>>>);

impl Shared {
    /// The latest snapshot.
    #[must_use]
    pub fn get(&self) -> Option<Arc<Instance>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether nobody else has it.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Replaces the snapshot.
    pub fn set(&self, instance: Instance) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(instance));
    }
}
