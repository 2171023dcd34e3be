//! Maps of a loaded object, by their names.

use anyhow::{Context as _, Result};
use aya::{Ebpf, maps::Map};

pub(crate) fn map<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Map> {
    ebpf.map_mut(name)
        .with_context(|| format!("the object has no map `{name}`"))
}
