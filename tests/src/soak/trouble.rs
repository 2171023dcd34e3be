//! The kinds of faults of a soak: how each begins and ends.

use std::{fmt, net::UdpSocket, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use heartbeat_user::control::protocol::{Request, Response};
use nix::sys::signal::Signal;

use crate::{
    Cluster, Fault,
    config::{Family, host},
    e2e::{SOON, load::Spinners},
    wait_until,
};

/// The members, the best first.
pub(super) const NODES: [&str; 3] = ["a", "b", "c"];

/// The number of datagrams in a flood.
const DATAGRAMS: usize = 20_000;
const PORT: u16 = heartbeat_common::wire::DEFAULT_PORT;
/// A check that comes and goes with a reload.
const CHECK: &str = "\n[[health]]\nname = \"soak\"\ntype = \"exec\"\nexec = [\"/bin/true\"]\n";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Fault {
        node: &'static str,
        fault: Fault,
    },
    /// The agent ends for a restart, and the next one starts at once.
    Restart {
        node: &'static str,
    },
    /// A changed configuration.
    Reload {
        node: &'static str,
    },
    Move {
        to: &'static str,
    },
    Standby {
        node: &'static str,
    },
    /// More load than the CPUs can handle.
    Pressure,
    /// Junk at the heartbeat port, as fast as possible.
    Flood {
        node: &'static str,
    },
}

impl Trouble {
    /// The node that the fault cuts off, if it does. No other node may be reported as down, or
    /// report others. The kernel of a killed or stopped agent answers.
    pub(super) fn victim(&self) -> Option<&'static str> {
        match self {
            Self::Fault {
                node,
                fault: Fault::Cut | Fault::Silent | Fault::Deaf | Fault::Mute,
            } => Some(node),
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Fault { fault, .. } => match fault {
                Fault::Cut => "cut",
                Fault::Silent => "silent",
                Fault::Deaf => "deaf",
                Fault::Mute => "mute",
                Fault::Kill => "kill",
                Fault::Stop => "stop",
            },
            Self::Restart { .. } => "restart",
            Self::Reload { .. } => "reload",
            Self::Move { .. } => "move",
            Self::Standby { .. } => "standby",
            Self::Pressure => "pressure",
            Self::Flood { .. } => "flood",
        }
    }

    /// Begins the fault. Returns values that must live as long as it lasts.
    pub(super) fn begin(&self, cluster: &mut Cluster) -> Result<Option<Spinners>> {
        match self {
            Self::Fault { node, fault } => cluster.inject(node, *fault)?,
            Self::Restart { node } => {
                restart(cluster, node)?;
            }
            Self::Reload { node } => {
                let path = cluster.node(node)?.config();
                let text = std::fs::read_to_string(&path)?;
                let text = match text.strip_suffix(CHECK) {
                    Some(without) => without.to_owned(),
                    None => text + CHECK,
                };
                std::fs::write(&path, text)?;
                ask(cluster, node, &Request::Reload)?;
            }
            Self::Move { to } => {
                let (group, node) = ("service".to_owned(), (*to).to_owned());
                ask(cluster, to, &Request::Move { group, node })?;
            }
            Self::Standby { node } => {
                let name = (*node).to_owned();
                ask(
                    cluster,
                    node,
                    &Request::Standby {
                        node: name,
                        force: true,
                    },
                )?;
            }
            Self::Pressure => return Ok(Some(Spinners::start(2)?)),
            Self::Flood { node } => flood(cluster, node)?,
        }
        Ok(None)
    }

    pub(super) fn end(&self, cluster: &mut Cluster, _pressure: Option<Spinners>) -> Result<()> {
        match self {
            Self::Fault { node, fault } => cluster.heal(node, *fault)?,
            Self::Move { to } => {
                let group = "service".to_owned();
                ask(cluster, to, &Request::Unmove { group })?;
            }
            Self::Standby { node } => {
                let name = (*node).to_owned();
                ask(cluster, node, &Request::Online { node: name })?;
            }
            Self::Restart { .. } | Self::Reload { .. } | Self::Pressure | Self::Flood { .. } => {}
        }
        Ok(())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::Fault { node, .. }
            | Self::Restart { node }
            | Self::Reload { node }
            | Self::Standby { node }
            | Self::Flood { node } => write!(f, " of {node}"),
            Self::Move { to } => write!(f, " to {to}"),
            Self::Pressure => Ok(()),
        }
    }
}

/// Waits until the agent of `node` answers.
pub(super) fn wait_agent(cluster: &mut Cluster, node: &str) -> Result<()> {
    wait_until(SOON, &format!("the agent of {node} answers"), || {
        cluster.check_agents()?;
        Ok(cluster.node(node)?.control.status().is_ok())
    })
}

fn restart(cluster: &mut Cluster, name: &str) -> Result<()> {
    let node = cluster.node_mut(name)?;
    node.agent()?.signal(Signal::SIGUSR2)?;
    let status = node.agent()?.wait(SOON)?;
    ensure!(status.success(), "the agent of {name} ended with {status}");
    node.forget_agent();
    cluster.start_agent(name)?;
    wait_agent(cluster, name)
}

fn ask(cluster: &Cluster, node: &str, request: &Request) -> Result<()> {
    match cluster.node(node)?.control.ask(request)? {
        Response::Done { .. } => Ok(()),
        Response::Error { message } => bail!("{request:?} was refused by {node}: {message}"),
        other => bail!("{node} answered {request:?} with {other:?}"),
    }
}

/// Sends junk from the client, which is on no allow-list.
fn flood(cluster: &Cluster, node: &str) -> Result<()> {
    let index = cluster.nodes().iter().position(|other| other.name == node);
    let index = index.with_context(|| format!("there is no node {node}"))?;
    let to = (Family::V4.address(0, host(index)), PORT);
    cluster.client_namespace().enter(|| {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.set_write_timeout(Some(Duration::from_secs(1)))?;
        for number in 0..DATAGRAMS {
            // Errors of a full queue are part of a flood.
            let _ = socket.send_to(&[number as u8; 100], to);
        }
        Ok(())
    })
}
