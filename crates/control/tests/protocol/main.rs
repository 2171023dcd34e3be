//! The JSON of the local protocol: its fields, its schemas and its words.

mod events;
mod former_names;
mod journal;
mod schema;
mod schemas;
