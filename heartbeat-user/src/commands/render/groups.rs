//! Formats groups, their resources and failed actions, in the manner of `crm status`.

use std::fmt::Write as _;

use super::{Colour, Page, short};
use crate::{
    commands::output,
    control::protocol::{Group, Guard, Resource, Status, Vip},
};

impl Page {
    pub(super) fn groups(&mut self, status: &Status) {
        if status.groups.is_empty() {
            return;
        }
        self.line("");
        self.line("Resource List:");
        let width = status.groups.iter().map(|group| group.name.len()).max();
        for group in &status.groups {
            self.group(group, width.unwrap_or(0), status);
        }
    }

    fn group(&mut self, group: &Group, width: usize, status: &Status) {
        let place = self.place(group, status);
        let notes = self.notes(group, status);
        // A group of one resource with the group's name is shown as that resource.
        if let [only] = group.resources.as_slice()
            && only.name == group.name
        {
            let kind = kind(only, status);
            self.line(&format!(
                "  * {:<width$} ({kind}): {place}{notes}",
                only.name
            ));
            self.error(only, status);
        } else {
            self.line(&format!(
                "  * {:<width$} (group): {place}{notes}",
                group.name
            ));
            let widest = group.resources.iter().map(|resource| resource.name.len());
            let widest = widest.max().unwrap_or(0);
            for resource in &group.resources {
                let kind = kind(resource, status);
                let state = self.state(resource);
                self.line(&format!(
                    "    * {:<widest$} ({kind}): {state}",
                    resource.name
                ));
                self.error(resource, status);
            }
        }
        for remains in &group.remains {
            let text = self.paint(Colour::Bad, &remains.to_string());
            self.line(&format!("    * {text}"));
        }
        self.lease(group, status);
    }

    /// Formats where the whole group is.
    fn place(&self, group: &Group, status: &Status) -> String {
        let active =
            |resource: &&Resource| !matches!(resource.state.as_str(), "stopped" | "unknown");
        let left = group.resources.iter().find(active);
        let mine = group.owner.as_ref() == Some(&status.node);
        let held = group.resources.iter().any(|resource| {
            let vip = status.vips.iter().find(|vip| vip.name == resource.name);
            vip.is_some_and(|vip| vip.held)
        });
        match (&group.owner, &group.blocked) {
            (_, Some(node)) => self.paint(Colour::Bad, &format!("BLOCKED {node}")),
            (Some(owner), _) if group.running => {
                self.paint(Colour::Good, &format!("Started {owner}"))
            }
            (Some(owner), _) if group.unreported => self.paint(
                Colour::Warning,
                &format!(
                    "Held by {owner}, whose agent does not answer: the state of its resources is \
                     unknown"
                ),
            ),
            // Only the owner can report more than that it holds the lease.
            (Some(owner), _) if !mine && left.is_none() => {
                self.paint(Colour::Warning, &format!("Starting {owner}"))
            }
            (Some(owner), _) => {
                let failed = group.resources.iter().any(|one| one.state == "failed");
                let text = if failed { "FAILED" } else { "Incomplete" };
                self.paint(Colour::Warning, &format!("{text} {owner}"))
            }
            (None, _) if group.stopped && left.is_none() => {
                self.paint(Colour::Warning, "Stopped (by an operator)")
            }
            (None, _) if left.is_some() || held => self.paint(Colour::Warning, "Stopping"),
            (None, _) => self.paint(Colour::Bad, "Stopped"),
        }
    }

    fn notes(&self, group: &Group, status: &Status) -> String {
        let mut notes = String::new();
        if group.maintenance && !status.maintenance {
            notes += &self.paint(Colour::Warning, " (maintenance)");
        }
        if !group.barred.is_empty() {
            let text = format!(" (failed on {})", group.barred.join(", "));
            notes += &self.paint(Colour::Bad, &text);
        }
        if !group.lacking.is_empty() {
            let text = format!(
                " (not in the configuration of {})",
                group.lacking.join(", ")
            );
            notes += &self.paint(Colour::Warning, &text);
        }
        if !group.cut_off.is_empty() {
            let text = format!(" (cut off on {})", group.cut_off.join(", "));
            notes += &self.paint(Colour::Bad, &text);
        }
        notes
    }

    fn state(&self, resource: &Resource) -> String {
        let at = resource.node.as_deref();
        let at = at.map_or_else(String::new, |node| format!(" {node}"));
        let (colour, word) = match resource.state.as_str() {
            "started" => (Colour::Good, "Started"),
            "starting" => (Colour::Warning, "Starting"),
            "stopping" => (Colour::Warning, "Stopping"),
            "failed" => (Colour::Bad, "FAILED"),
            "blocked" => (Colour::Bad, "BLOCKED"),
            "unknown" => (Colour::Warning, "Unknown"),
            _ if resource.stopped => (Colour::Warning, "Stopped (by an operator)"),
            _ => (Colour::Bad, "Stopped"),
        };
        let mut text = self.paint(colour, &format!("{word}{at}"));
        if resource.failures > 0 {
            let _ = write!(text, ", failed {} times", resource.failures);
        }
        text
    }

    /// Adds why an address could not be added or removed, and changes that others made to it.
    fn error(&mut self, resource: &Resource, status: &Status) {
        let Some(vip) = vip(resource, status) else {
            return;
        };
        if let Some(error) = &vip.error {
            let error = self.paint(Colour::Bad, error);
            self.line(&format!("    * {error}"));
        }
        if let Some(notice) = &vip.notice {
            let text = format!("{} ago: {}", short(notice.age_ns), notice.message);
            let text = self.paint(Colour::Warning, &text);
            self.line(&format!("    * {text}"));
        }
    }

    fn lease(&mut self, group: &Group, status: &Status) {
        let Some(lease) = &group.lease else { return };
        let mut text = format!(
            "lease: {} left, ballot {}.{}",
            short(lease.remaining_ns),
            lease.ballot_round,
            lease.ballot_node
        );
        if let Some(votes) = &group.votes {
            let granted = format!("{} of {} votes", votes.granted, votes.of);
            let colour = match votes.granted {
                granted if granted < votes.needed => Colour::Bad,
                granted if granted < votes.of => Colour::Warning,
                _ => Colour::Good,
            };
            let _ = write!(text, ", {}", self.paint(colour, &granted));
        }
        let guards = group.resources.iter().filter_map(|own| vip(own, status));
        let dropped = guards.fold((0, 0), |(to, from), vip| {
            let Guard {
                dropped_in,
                dropped_out,
                ..
            } = vip.guard;
            (to + dropped_in, from + dropped_out)
        });
        if dropped != (0, 0) {
            let _ = write!(
                text,
                ", guard dropped {} in and {} out",
                dropped.0, dropped.1
            );
        }
        self.line(&format!("    * {text}"));
    }

    pub(super) fn failures(&mut self, status: &Status) {
        if status.failures.is_empty() {
            return;
        }
        self.line("");
        self.line("Failed Resource Actions:");
        for failure in &status.failures {
            let what = format!(
                "{} {} on {}: {}",
                failure.resource, failure.action, failure.node, failure.outcome
            );
            let what = self.paint(Colour::Bad, &what);
            let at = output::utc(failure.at_unix_ns);
            self.line(&format!("  * {what}, at {at}"));
            for line in failure.message.lines() {
                self.line(&format!("    {line}"));
            }
        }
    }
}

/// Returns the address of a `vip` resource.
fn vip<'a>(resource: &Resource, status: &'a Status) -> Option<&'a Vip> {
    let is_vip = resource.kind == "vip";
    status
        .vips
        .iter()
        .find(|vip| is_vip && vip.name == resource.name)
}

/// Describes the kind of a resource in a few words.
fn kind(resource: &Resource, status: &Status) -> String {
    match vip(resource, status) {
        Some(vip) => format!("{} on {}", vip.address, vip.interface),
        None => resource.kind.clone(),
    }
}
