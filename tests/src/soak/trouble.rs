//! What can happen to a cluster, how it is made to happen, and how it ends.

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

/// Junk of one flood.
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
    /// More work than the processors can do.
    Pressure,
    /// Junk at the port of the heartbeats, as fast as it goes.
    Flood {
        node: &'static str,
    },
}

impl Trouble {
    /// Who is cut off by it: nobody else may be called dead, nor call others so. The kernel of an
    /// agent that is killed or stands still answers.
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

    /// Returns what it needs for as long as it lasts.
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

/// From the client, whom nobody has to believe.
fn flood(cluster: &Cluster, node: &str) -> Result<()> {
    let index = cluster.nodes().iter().position(|other| other.name == node);
    let index = index.with_context(|| format!("there is no node {node}"))?;
    let to = (Family::V4.address(0, host(index)), PORT);
    cluster.client_namespace().enter(|| {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.set_write_timeout(Some(Duration::from_secs(1)))?;
        for number in 0..DATAGRAMS {
            // A full queue, and what the network says of it, are part of a flood.
            let _ = socket.send_to(&[number as u8; 100], to);
        }
        Ok(())
    })
}
