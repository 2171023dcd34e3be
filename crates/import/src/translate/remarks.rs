//! Remarks and notes of several modules of the translation.

use crate::{
    emit::{Comment, Remark},
    model::Attrs,
    place::Place,
    values,
};

/// The reason why fencing devices are left out, and the consequences.
pub(super) const NO_FENCING: (&str, &str) = (
    "no fencing device is needed for a built-in vip: its lease is granted by a majority of kernels, and its owner's \
     own kernel stops serving it before another may begin",
    "leave it out where groups hold addresses and services that may run twice; what must not (file systems, volumes, \
     databases) is not kept from it here, and stands in a comment \"to be decided\"",
);

/// `text` as a name of ours, and a remark if it was changed.
pub(super) fn renamed(text: &str) -> (String, String) {
    let name = values::usable_name(text);
    let changed = if name == text {
        String::new()
    } else {
        format!("; \"{text}\" is not a usable name here")
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
