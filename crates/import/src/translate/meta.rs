//! Settings that groups and resources of Pacemaker share: meta attributes and rules.

use std::time::Duration;

use heartbeat_core::placement::Score;

use super::{defaults, remarks::left_over};
use crate::{
    emit::{Comment, Remark},
    model::{Attr, Attrs, Settings},
    values,
};

/// Meta attributes that have a counterpart.
#[derive(Debug, Default)]
pub(super) struct Meta {
    pub(super) stickiness: Option<Score>,
    pub(super) threshold: Option<u32>,
    /// The time; `Some(None)` means for ever.
    pub(super) failure_timeout: Option<Option<Duration>>,
    /// Whether the owner is set to run, or to be left in maintenance.
    pub(super) runs: Option<bool>,
    pub(super) comments: Vec<Comment>,
}

impl Meta {
    /// Reads the meta attributes of `owner`. `alone`: the owner is its group's only resource.
    pub(super) fn read(owner: &str, attrs: &Attrs, alone: bool) -> Self {
        let mut meta = Self::default();
        let mut rest = Attrs::default();
        for attr in &attrs.0 {
            let understood = match attr.name.as_str() {
                "resource-stickiness" => values::score(&attr.value)
                    .filter(|score| *score >= Score::ZERO)
                    .map(|score| meta.stickiness = Some(score)),
                "migration-threshold" => {
                    defaults::threshold(&attr.value).map(|number| meta.threshold = Some(number))
                }
                "failure-timeout" => defaults::failure_timeout(&attr.value)
                    .map(|timeout| meta.failure_timeout = Some(timeout)),
                "is-managed" => {
                    values::truth(&attr.value).map(|yes| meta.managed(yes, owner, attr, alone))
                }
                "maintenance" => {
                    values::truth(&attr.value).map(|yes| meta.managed(!yes, owner, attr, alone))
                }
                "target-role" => meta.role(owner, attr),
                _ => None,
            };
            if understood.is_none() {
                rest.0.push(attr.clone());
            }
        }
        meta.comments.extend(left_over("meta", owner, rest));
        meta
    }

    fn managed(&mut self, managed: bool, owner: &str, attr: &Attr, alone: bool) {
        if managed {
            return;
        }
        self.runs = Some(false);
        let subject = format!("meta {}={} of {owner}", attr.name, attr.value);
        self.comments.push(if alone {
            Comment::note(
                format!("{subject} ({}): maintenance", attr.place),
                &attr.place,
            )
        } else {
            Remark::new(
                &attr.place,
                subject,
                "heartbeat has maintenance only for a whole group",
                "the group is in maintenance: remove that when the rest may run",
            )
            .into()
        });
    }

    fn role(&mut self, owner: &str, attr: &Attr) -> Option<()> {
        match attr.value.to_ascii_lowercase().as_str() {
            "started" => {
                self.runs = self.runs.or(Some(true));
                Some(())
            }
            "stopped" => {
                self.runs = Some(false);
                self.comments.push(
                    Remark::new(
                        &attr.place,
                        format!("meta target-role={} of {owner}", attr.value),
                        "a group is either served or in maintenance, and the file has no word for \
                         a stopped group",
                        "the group is in maintenance, so no node starts it: remove the \
                         maintenance, or the group",
                    )
                    .into(),
                );
                Some(())
            }
            _ => None,
        }
    }
}

/// Remarks on a resource's other settings beside its type and its operations: rules, references,
/// doubles.
pub(super) fn asides(owner: &str, settings: &Settings) -> Vec<Comment> {
    let mut comments: Vec<Comment> = settings
        .opaque
        .iter()
        .map(|(text, place)| {
            let reason = "heartbeat's settings have no rules and no references to other settings";
            let remedy = "write the value that should hold on every node";
            Remark::new(place, format!("{text} of {owner}"), reason, remedy).into()
        })
        .collect();
    comments.extend(settings.doubles.iter().map(|attr| {
        let subject = format!("{}={} of {owner}", attr.name, attr.value);
        let reason = "it is set twice; the set with the higher score applies, or else the first";
        Remark::new(&attr.place, subject, reason, "choose one").into()
    }));
    comments
}
