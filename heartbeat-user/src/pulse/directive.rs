//! What the rest of the agent tells the pulse.

use std::time::Duration;

use anyhow::Result;
use heartbeat_common::{
    siphash::SipKey,
    wire::{LinkSet, NodeId},
};
use heartbeat_core::{cluster::Intent, group::Note, report::Report};

use super::{
    Replan,
    mailbox::{Mailbox, Post, mailbox},
};
use crate::{health::Sum, net::ProbeSocket};

#[derive(Debug)]
pub enum Directive {
    /// All of the group with this index has stopped here.
    Stopped {
        group: usize,
    },
    /// The operator wants the group with this index on `to`.
    Move {
        group: usize,
        to: NodeId,
    },
    /// Something is said of the group with this index.
    Note {
        group: usize,
        note: Note,
    },
    /// The interfaces of these links are missing, switched off or without carrier.
    Broken(LinkSet),
    /// A peer reported.
    Reported {
        node: NodeId,
        report: Report,
    },
    /// What this node's health checks amount to.
    Health(Sum),
    /// This node's load per mille.
    Load(u16),
    /// This agent's latest report has this number from now on.
    Report {
        number: u32,
    },
    /// Seal with this key, which the kernel takes already and under which the configuration has this digest.
    Rekey {
        key: (u8, SipKey),
        generation: u32,
    },
    /// The configuration has changed.
    Replan(Box<Replan>),
    Intend(Intent),
    /// Probes of a link leave by this socket from here on.
    Rebind {
        link: usize,
        socket: ProbeSocket,
    },
    /// Get a last lease of this length for whatever is served, and end, for the next agent to go on.
    Part(Duration),
    /// End.
    Stop,
}

/// A handle for those who tell.
#[derive(Clone, Debug)]
pub struct Directives(Post<Directive>);

/// The pulse's end.
#[derive(Debug)]
pub struct Inbox(pub(super) Mailbox<Directive>);

impl Directives {
    pub fn new() -> Result<(Self, Inbox)> {
        let (post, mailbox) = mailbox()?;
        Ok((Self(post), Inbox(mailbox)))
    }

    /// Tells the pulse, unless it has ended.
    pub fn tell(&self, directive: Directive) {
        self.0.send(directive);
    }
}
