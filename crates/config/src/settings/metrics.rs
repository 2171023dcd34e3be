//! `[metrics]`: the agent's metrics for Prometheus.

use std::net::SocketAddr;

use super::{Check::Prose, Fallback::Without, Reload::Metrics, settings};
use crate::{
    readers::{Text, text},
    values,
};

settings! {
    /// Metrics in the format OpenMetrics, for Prometheus: docs/operate/monitoring.md lists them.
    "[metrics]" of ();

    /// The address for GET /metrics. Whoever reaches it may read all metrics: there is no password
    /// and no encryption.
    LISTEN: Text<SocketAddr> = text(values::listener, "an IP address and a port") => {
        name: "listen", default: Without("off"), example: r#""127.0.0.1:9694""#,
        reload: Metrics, digest: false, check: Prose;
        |config, _| config.metrics
    }
}
