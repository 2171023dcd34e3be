//! Texts that a function judges: names, paths, addresses.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use heartbeat_common::prefix::ServedAddress;
use toml::{Spanned, de::DeValue};

use crate::{
    read::{At, Invalid, Named, Reader, Section},
    types::{HttpTarget, StopSignal},
};

/// A text that `parse` understands.
pub(crate) struct Text<V> {
    parse: fn(&str) -> Result<V, Invalid>,
    takes: &'static str,
}

/// `takes` says in the documents what `parse` takes.
pub(crate) const fn text<V>(parse: fn(&str) -> Result<V, Invalid>, takes: &'static str) -> Text<V> {
    Text { parse, takes }
}

/// A value that stands in the file as a text.
pub(crate) trait Written {
    /// The text, without quotes.
    fn written(&self) -> String;
}

impl<V: Written> Reader for Text<V> {
    type Value = V;

    fn read(
        &self,
        section: &Section<'_>,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<At<V>> {
        section.text(field, value, &self.parse)
    }

    fn write(&self, value: &V) -> String {
        format!("{:?}", value.written())
    }

    fn show(&self, value: &V) -> String {
        value.written()
    }

    fn takes(&self) -> String {
        self.takes.to_owned()
    }
}

impl Written for String {
    fn written(&self) -> String {
        self.clone()
    }
}

impl Written for PathBuf {
    fn written(&self) -> String {
        self.display().to_string()
    }
}

impl Written for IpAddr {
    fn written(&self) -> String {
        self.to_string()
    }
}

impl Written for SocketAddr {
    fn written(&self) -> String {
        self.to_string()
    }
}

impl Written for ServedAddress {
    fn written(&self) -> String {
        self.to_string()
    }
}

impl Written for HttpTarget {
    fn written(&self) -> String {
        format!("http://{}{}", self.host, self.path)
    }
}

impl Written for StopSignal {
    fn written(&self) -> String {
        self.as_str().to_owned()
    }
}
