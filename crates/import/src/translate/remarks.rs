//! Remarks and notes of several modules of the translation.

use crate::{
    emit::{Comment, Remark},
    model::Attrs,
    place::Place,
    values,
};

/// The reason why fencing devices are left out, and the consequences.
pub(super) const NO_FENCING: (&str, &str) = (
    "a built-in vip needs no fencing device: a majority of kernels grants its lease, and the \
     owner's own kernel stops its traffic before another node may begin",
    "groups of addresses and of services that may run twice need no fencing; nothing prevents a \
     second run of other resources (file systems, volumes, databases), and a comment \"to be \
     decided\" marks their groups",
);

/// `text` as a name of ours, and a remark if it was changed.
pub(super) fn renamed(text: &str) -> (String, String) {
    let name = values::usable_name(text);
    let changed = if name == text {
        String::new()
    } else {
        format!("; \"{text}\" is not a valid name in heartbeat")
    };
    (name, changed)
}

/// Remarks on the remaining attributes.
pub(super) fn left_over(kind: &str, owner: &str, attrs: Attrs) -> impl Iterator<Item = Comment> {
    attrs.0.into_iter().map(move |attr| {
        let subject = format!("{kind} {}={} of {owner}", attr.name, attr.value);
        Remark::new(
            &attr.place,
            subject,
            "heartbeat has no such setting",
            "check that nothing depends on it",
        )
        .into()
    })
}

/// One remark on several places; `None` without any.
pub(super) fn joint(
    subject: String,
    places: Vec<Place>,
    reason: &str,
    remedy: &str,
) -> Option<Comment> {
    let mut places = places.into_iter();
    let first = places.next()?;
    Some(
        Remark::new(&first, subject, reason, remedy)
            .also(places)
            .into(),
    )
}
