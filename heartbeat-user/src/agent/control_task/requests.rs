//! Answers requests of the control socket and of other agents.

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use heartbeat_core::index::RowNumber;
use tokio::sync::oneshot;

use super::{ControlTask, Shortage, reload::Asker};
use crate::{
    agent::{
        graceful_restart::Departure,
        operate::{NOT_UNDERSTOOD, Origin, refused_witness},
        ping,
        threads::Threads,
        view,
    },
    clock,
    config::Role,
    control::protocol::{ConfigureStep, Ping, Report, Request, Response, Status},
    logging,
    metrics::{self, Format, Snapshot, Tally},
    peering::{self, PeerAsked},
};

/// Room for events in an answer to a peer, in bytes. The rest is for what is around them.
const EVENTS_ROOM: usize = peering::MAX_PAYLOAD - 1024;

impl ControlTask<'_> {
    /// Carries out a request of the control socket. The client may have disconnected.
    pub(super) fn take_request(
        &mut self,
        request: Request,
        answer: oneshot::Sender<Response>,
        threads: &Threads,
        departure: &mut Option<Departure>,
    ) {
        match request {
            Request::Reload => self.reload(Asker::Client(answer)),
            Request::Configure { node, step } => {
                self.configure(node, step, Origin::Local, answer);
            }
            Request::Stop { keep, force } if keep || force || departure.is_some() => {
                let _ = answer.send(self.depart(keep, threads, departure));
            }
            Request::Stop { .. } => self.judge_stop(answer),
            request => self.answer(request, answer),
        }
    }

    fn answer(&self, request: Request, answer: oneshot::Sender<Response>) {
        let response = match request {
            Request::Status => self
                .status()
                .map(|status| Response::Status(Box::new(status))),
            Request::Metrics { openmetrics } => match self.status() {
                Ok(status) => {
                    let tally = self.tally.clone();
                    // The text may be long, and the control task has other work.
                    tokio::spawn(async move {
                        // The client may have disconnected.
                        let _ = answer.send(metrics_of(status, tally, openmetrics));
                    });
                    return;
                }
                Err(error) => Err(error),
            },
            Request::Report => Ok(self.report_for_peers()),
            // `take_request` handles these.
            Request::Reload | Request::Configure { .. } | Request::Stop { .. } => {
                Err(anyhow!("{request:?} is carried out elsewhere"))
            }
            Request::Move { .. }
            | Request::Unmove { .. }
            | Request::Standby { .. }
            | Request::Online { .. }
            | Request::Drain { .. }
            | Request::Cleanup { .. }
            | Request::Maintenance { .. }
            | Request::Enable { .. }
            | Request::Restart { .. } => {
                let operator = Arc::clone(&self.operator);
                tokio::spawn(async move {
                    let response = operator.carry_out(request, Origin::Local).await;
                    let _ = answer.send(response);
                });
                return;
            }
            Request::Events { after, node } => {
                let others = node.filter(|node| *node != self.config.local().name);
                let Some(node) = others else {
                    let events = Response::Events(self.journal.since(after));
                    let _ = answer.send(events);
                    return;
                };
                let operator = Arc::clone(&self.operator);
                tokio::spawn(async move {
                    let _ = answer.send(operator.events_of(node, after).await);
                });
                return;
            }
            Request::Ping { node, count } => match self.ping(&node, count, answer) {
                Ok(()) => return,
                Err((answer, error)) => {
                    let _ = answer.send(Response::Error {
                        message: format!("{error:#}"),
                    });
                    return;
                }
            },
        };
        let response = response.unwrap_or_else(|error| Response::Error {
            message: format!("{error:#}"),
        });
        // The client may have disconnected.
        let _ = answer.send(response);
    }

    fn status(&self) -> Result<Status> {
        let checks = self.checks.snapshot();
        let mut view = view::lock(&self.view);
        view.vitals.checked(checks);
        view.status(self.dataplane).map(|status| Status {
            witness_commands: self.witness_commands,
            ..status
        })
    }

    /// Carries out a request of another node's operator.
    pub(super) fn answer_peer(&mut self, asked: PeerAsked) {
        let PeerAsked {
            from,
            payload,
            secret,
            answer,
        } = asked;
        if answer.is_closed() {
            // The other node has already reported a timeout: a late success would surprise its
            // operator.
            return;
        }
        let request = serde_json::from_slice::<Request>(&payload);
        let question = match request {
            Ok(Request::Report) => Some(self.report_for_peers()),
            Ok(Request::Events { after, .. }) => {
                Some(Response::Events(self.journal.page(after, EVENTS_ROOM)))
            }
            _ => None,
        };
        if let Some(response) = question {
            if let Ok(response) = serde_json::to_vec(&response) {
                let _ = answer.send(response);
            }
            return;
        }
        let node = self.config.node(from);
        let name = node.map_or("?", |node| &node.name);
        if node.is_none_or(|node| node.role == Role::Witness) {
            self.witness_commands += 1;
            self.rate_limit.warn(Shortage::Trust, || {
                format!(
                    "rejected a command from node {name}: it is a witness, and a witness never \
                     gives one by mistake; check that host for an intruder, because all nodes have \
                     the same key"
                )
            });
            let refused = serde_json::to_vec(&refused_witness(name));
            let _ = refused.map(|refused| answer.send(refused));
            return;
        }
        let operator = Arc::clone(&self.operator);
        match &request {
            Ok(command) => {
                let command = logging::one_line(command.to_string().as_bytes());
                logging::notice!("command from node {name}: {command}");
            }
            Err(_) if secret => log::warn!("unknown command from node {name}"),
            Err(_) => log::warn!(
                "unknown command from node {name}: {}",
                logging::one_line(&payload)
            ),
        }
        if let Ok(Request::Configure { node, step }) = request {
            self.configure_for_peer(node, step, secret, answer);
            return;
        }
        tokio::spawn(async move {
            let response = match request {
                Ok(request) => operator.carry_out(request, Origin::Peer).await,
                Err(error) => Response::Error {
                    message: format!("{NOT_UNDERSTOOD}: {error}"),
                },
            };
            if let Ok(response) = serde_json::to_vec(&response) {
                let _ = answer.send(response);
            }
        });
    }

    /// Takes a step of a reload of all nodes for a peer. A text that was sent in the open is
    /// refused.
    fn configure_for_peer(
        &mut self,
        node: String,
        step: ConfigureStep,
        secret: bool,
        answer: oneshot::Sender<Vec<u8>>,
    ) {
        let (sender, answered) = oneshot::channel();
        if secret {
            self.configure(node, step, Origin::Peer, sender);
        } else {
            let message = "a configuration is accepted only in an encrypted request".to_owned();
            let _ = sender.send(Response::Error { message });
        }
        tokio::spawn(async move {
            // Without an answer the agent stops, and the channel says so.
            if let Ok(response) = answered.await
                && let Ok(response) = serde_json::to_vec(&response)
            {
                let _ = answer.send(response);
            }
        });
    }

    fn report_for_peers(&self) -> Response {
        let view = view::lock(&self.view);
        let report = Report {
            abstains_ns: view
                .own_abstention(clock::now())
                .map_or(0, |own| own.for_ns),
            ..view.groups.published().clone()
        };
        Response::Report(Box::new(report))
    }

    /// Starts a task that answers later.
    fn ping(
        &self,
        node: &str,
        count: u32,
        answer: oneshot::Sender<Response>,
    ) -> Result<(), (oneshot::Sender<Response>, anyhow::Error)> {
        let prepared = (|| {
            let names = || {
                self.config
                    .nodes
                    .iter()
                    .map(|node| node.name.as_str())
                    .collect::<Vec<_>>()
            };
            let mut peers = self.config.peers_enumerated();
            let Some((index, peer)) = peers.find(|(_, peer)| peer.name == node) else {
                if self.config.local().name == node {
                    bail!("`{node}` is this node: ping another");
                }
                bail!(
                    "no node is called `{node}`; there are {}",
                    names().join(", ")
                );
            };
            if count == 0 || count > ping::MAX_COUNT {
                bail!(
                    "cannot take {count} samples: ask for 1 to {}",
                    ping::MAX_COUNT
                );
            }
            let rows = self.dataplane.peer_rows()?;
            let first_row = RowNumber::first_of(index, self.config.links.len());
            let addresses = peer.addresses.iter().map(ToString::to_string);
            Ok((rows, first_row, addresses.collect()))
        })();
        let (rows, first_row, addresses) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err((answer, error)),
        };
        let (node, interval) = (node.to_owned(), self.config.interval);
        tokio::spawn(async move {
            let links = ping::ping(rows, first_row, addresses, count, interval).await;
            let _ = answer.send(Response::Ping(Ping { node, links }));
        });
        Ok(())
    }
}

fn metrics_of(status: Status, tally: Tally, openmetrics: bool) -> Response {
    let format = match openmetrics {
        true => Format::OpenMetrics,
        false => Format::Text,
    };
    match metrics::render(Snapshot::new(status, tally), format) {
        Ok(text) => Response::Metrics { text },
        Err(error) => Response::Error {
            message: format!("could not write the metrics: {error}"),
        },
    }
}
