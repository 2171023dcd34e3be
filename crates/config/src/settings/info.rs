//! The rows as plain values, for the documents.

/// A table for the documents.
#[derive(Clone, Debug)]
pub struct TableInfo {
    /// `[cluster]`, or `[[node]]` for a list.
    pub header: &'static str,
    pub doc: String,
    pub settings: Vec<SettingInfo>,
}

/// A setting for the documents.
#[derive(Clone, Debug)]
pub struct SettingInfo {
    pub name: &'static str,
    pub doc: String,
    /// The values that are good.
    pub takes: String,
    pub default: DefaultInfo,
    /// A good value, as TOML.
    pub example: String,
    /// The types that have the setting; empty for all.
    pub only: &'static [&'static str],
    /// The effect of a reload on a change.
    pub reload: &'static str,
    /// Whether all nodes must have the same value.
    pub agreed: bool,
}

/// The effect of a missing setting, for the documents.
#[derive(Clone, Debug)]
pub enum DefaultInfo {
    Required,
    /// A value, as TOML.
    Is(String),
    /// A value that depends on other settings.
    Follows(&'static str),
    /// Something that no value says.
    Without(&'static str),
}
