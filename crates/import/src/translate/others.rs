//! Statements without a translation, each with its reason.

use super::remarks::NO_FENCING;
use crate::{
    emit::{Comment, Remark},
    model::{Model, Other},
};

pub(super) fn translate(model: &Model) -> impl Iterator<Item = Comment> {
    model.others.iter().map(|other| {
        let subject = format!("{} {}", other.keyword, other.id);
        let subject = subject.trim();
        match &other.why {
            Some((reason, remedy)) => Remark::new(&other.place, subject, reason, remedy)
                .also(other.also.iter().cloned())
                .into(),
            None => {
                let (reason, remedy) = say(other);
                Remark::new(&other.place, subject, reason, remedy).into()
            }
        }
    })
}

/// Remarks on unknown parts of statements, and on changes by commands.
pub(super) fn strays(model: &Model) -> Vec<Comment> {
    let strays = model.strays.iter().map(|stray| {
        Remark::new(
            &stray.place,
            stray.subject.clone(),
            "heartbeat has no such setting",
            "check that nothing depends on it",
        )
        .into()
    });
    let notes = model.notes.iter();
    let notes = notes.map(|(text, place)| Comment::note(text.clone(), place));
    strays.chain(notes).collect()
}

fn say(other: &Other) -> (&'static str, &'static str) {
    match other.keyword.as_str() {
        "rsc_ticket" => (
            "tickets join the clusters of several sites, and a heartbeat cluster stands alone",
            "put voters into three sites, or keep the sites apart",
        ),
        "fencing_topology" | "pcs stonith" => NO_FENCING,
        "tag" => (
            "a tag is a name for several resources, and heartbeat's constraints name groups",
            "write the constraint once for each intended group",
        ),
        "role" | "user" | "acl_target" | "acl_group" | "acl_role" | "acl_user" => (
            "only root may control the agent",
            "give permitted users sudo",
        ),
        "alert" => (
            "hooks replace alerts, and they receive other data",
            "write a [[hook]]: peer-down, peer-up, takeover or release",
        ),
        "bundle" => (
            "a bundle runs containers on several nodes at the same time",
            "write a systemd unit that runs the container, and make the unit a resource",
        ),
        "xml" => (
            "the import does not read raw XML inside the shell's syntax",
            "export the whole CIB with `cibadmin --query` and import that file",
        ),
        "schema" => (
            "the line has the version of Pacemaker's own syntax",
            "no action needed",
        ),
        "property"
        | "rsc_defaults"
        | "op_defaults"
        | "cluster_property_set"
        | "meta_attributes" => ("it is empty", "no action needed"),
        "commit" | "verify" | "exit" | "quit" | "bye" | "end" | "up" | "save" | "show" => (
            "the line is a command of the shell, not configuration",
            "no action needed",
        ),
        _ => (
            "heartbeat has no counterpart",
            "check that nothing depends on it",
        ),
    }
}
