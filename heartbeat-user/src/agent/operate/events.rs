//! The events of another node, for `heartbeat events --node`.

use anyhow::{Context as _, Result, bail};

use super::{NOT_UNDERSTOOD, Operator};
use crate::{
    control::protocol::{Request, Response},
    logging, peering,
};

impl Operator {
    /// Returns the first events of another node after number `after`, as many as one answer holds;
    /// none if there are no later ones.
    pub(in crate::agent) async fn events_of(&self, node: String, after: u64) -> Response {
        let asked = async {
            let target = self.node(&node)?;
            let request = serde_json::to_vec(&Request::Events {
                after,
                node: Some(node.clone()),
            })?;
            let (config, keys) = (&self.config, &self.keys);
            let answer = peering::ask(config, keys, target.id, &request, peering::PATIENCE).await?;
            events_in(&answer, &node)
        };
        asked.await.unwrap_or_else(|error| Response::Error {
            message: format!("no events of node {node}: {error:#}"),
        })
    }
}

/// Parses the answer of another node. Its texts are cleaned where they are shown.
fn events_in(answer: &[u8], node: &str) -> Result<Response> {
    let answer = serde_json::from_slice(answer).with_context(|| {
        format!("its answer is not understood: its release may be newer; run `heartbeat events` on node {node}")
    })?;
    match answer {
        Response::Events(_) => Ok(answer),
        Response::Error { message } if message.starts_with(NOT_UNDERSTOOD) => bail!(
            "its agent runs, and its release is older: it tells other nodes no events; run \
             `heartbeat events` on node {node}, or upgrade it"
        ),
        Response::Error { message } => bail!(logging::clean(&message)),
        _ => bail!("its answer belongs to another request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::Events;

    #[test]
    fn older_peer_is_told_apart_from_a_refusal() {
        let answer = |response: &Response| {
            let answer = serde_json::to_vec(response).unwrap();
            events_in(&answer, "b")
        };
        let error = |message: &str| {
            let message = message.to_owned();
            answer(&Response::Error { message })
                .unwrap_err()
                .to_string()
        };
        // This is what the releases before this request answer.
        let unknown = serde_json::from_str::<Old>(r#"{"command":"events","after":0,"node":"b"}"#);
        let old = error(&format!("{NOT_UNDERSTOOD}: {}", unknown.unwrap_err()));
        assert!(old.contains("its release is older"), "{old}");
        assert_eq!(error("no\x1b[2J"), "no\\u{1b}[2J");
        let none = Response::Events(Events {
            lost: 0,
            events: Vec::new(),
        });
        assert_eq!(answer(&none).unwrap(), none);
        let other = answer(&Response::Done {
            text: String::new(),
        });
        assert!(other.is_err());
        assert!(events_in(b"{", "b").is_err());
    }

    /// The request of a release that did not ask for another node's events.
    #[derive(Debug, serde::Deserialize)]
    #[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
    enum Old {
        Events {
            #[serde(default, rename = "after")]
            _after: u64,
        },
    }
}
