//! TEMPORARY
use crate::config::{Config, Resource};
use heartbeat_core::resource::{Action, Outcome};
use std::time::Duration;
pub struct Agents;
pub struct Done {
    pub outcome: Outcome,
    pub message: String,
    pub took: Duration,
}
pub struct Timeouts {
    pub start: Duration,
    pub stop: Duration,
    pub monitor: Duration,
    pub interval: Option<Duration>,
}
impl Agents {
    pub fn new(_: &Config) -> Self {
        Self
    }
    pub async fn act(&self, _: &Resource, _: Action, _: Duration) -> Done {
        std::future::pending().await
    }
    pub async fn timeouts(&self, _: &Resource) -> Timeouts {
        std::future::pending().await
    }
    pub async fn ended(&self, _: &Resource) {
        std::future::pending().await
    }
    pub async fn validate(&self, _: &Resource) -> Done {
        std::future::pending().await
    }
}
