//! The channel to the pulse.

use anyhow::Result;

use super::mailbox::{Mailbox, Post, mailbox};
use crate::messages::Directive;

/// The senders' end.
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

    /// Sends a directive to the pulse, unless the pulse has ended.
    pub fn send(&self, directive: Directive) {
        self.0.send(directive);
    }
}
