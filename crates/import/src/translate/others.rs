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
            "tickets join clusters of several sites, and heartbeat is one cluster",
            "put voters into three sites, or keep the sites apart",
        ),
        "fencing_topology" | "pcs stonith" => NO_FENCING,
        "tag" => (
            "a tag is a name for several resources, and constraints name groups here",
            "write the constraint once for each group that is meant",
        ),
        "role" | "user" | "acl_target" | "acl_group" | "acl_role" | "acl_user" => (
            "only root may command the agent, and others may not",
            "use sudo for those who may",
        ),
        "alert" => (
            "alerts are hooks here, and are told other things",
            "write a [[hook]]: peer-down, peer-up, takeover or release",
        ),
        "bundle" => (
            "a bundle runs containers on several nodes at a time",
            "run the container by a unit of systemd, as a resource",
        ),
        "xml" => (
            "raw XML is not read as part of the shell's syntax",
            "export all of it by `cibadmin --query` and import that file",
        ),
        "schema" => (
            "it is the version of Pacemaker's own syntax",
            "nothing is to be done",
        ),
        "property"
        | "rsc_defaults"
        | "op_defaults"
        | "cluster_property_set"
        | "meta_attributes" => ("it is empty", "nothing is to be done"),
        "commit" | "verify" | "exit" | "quit" | "bye" | "end" | "up" | "save" | "show" => (
            "it is a command of the shell, no configuration",
            "nothing is to be done",
        ),
        _ => (
            "heartbeat has nothing like it",
            "check that nothing depends on it",
        ),
    }
}
