//! Maps of a loaded object, by their names.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Map, MapData},
};

pub(crate) fn map<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Map> {
    ebpf.map_mut(name)
        .with_context(|| format!("the object has no map `{name}`"))
}

/// The array map `name`.
pub(crate) fn array<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a MapData> {
    match ebpf.map(name) {
        Some(Map::Array(map)) => Ok(map),
        _ => anyhow::bail!("the object has no array map `{name}`"),
    }
}

/// The number of rows of an array.
pub(crate) fn rows_of(map: &MapData) -> Result<usize> {
    Ok(map.info()?.max_entries() as usize)
}
