//! Reads the structs out of BTF, the kernel's type information: what `bpftool map dump` shows.
//!
//! Only as much of the format as that takes, see `Documentation/bpf/btf.rst` in the kernel's
//! sources.

use anyhow::{Context as _, Result, ensure};

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;

/// A struct's layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    pub name: String,
    pub size: usize,
    /// Name and offset in bytes of each field.
    pub fields: Vec<(String, usize)>,
}

/// The struct whose type id is `id`, in the BTF `data`.
pub fn structure(data: &[u8], id: u32) -> Result<Structure> {
    let word = |at| word(data, at);
    let magic = data.first_chunk().copied().map(u16::from_le_bytes);
    ensure!(
        magic == Some(MAGIC),
        "BTF does not begin with its magic number"
    );
    let header_len = word(4)? as usize;
    let types = header_len + word(8)? as usize;
    let strings = header_len + word(16)? as usize;
    let name = |offset: u32| -> Result<String> {
        let bytes = data
            .get(strings + offset as usize..)
            .context("a BTF name beyond the end")?;
        let len = bytes
            .iter()
            .position(|byte| *byte == 0)
            .context("a BTF name without end")?;
        Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
    };
    // Type 0 is void and not written down.
    let mut at = types;
    for _ in 1..id {
        at += size_of_type(word(at + 4)?);
    }
    let info = word(at + 4)?;
    ensure!(
        kind(info) == KIND_STRUCT,
        "BTF type {id} is of kind {}, no struct",
        kind(info)
    );
    let fields = (0..count(info)).map(|member| {
        let member = at + 12 + 12 * member;
        Ok((name(word(member)?)?, word(member + 8)? as usize / 8))
    });
    Ok(Structure {
        name: name(word(at)?)?,
        size: word(at + 8)? as usize,
        fields: fields.collect::<Result<_>>()?,
    })
}

fn word(data: &[u8], at: usize) -> Result<u32> {
    let bytes = data
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .context("BTF ends early")?;
    Ok(u32::from_le_bytes(*bytes))
}

const fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

const fn count(info: u32) -> usize {
    (info & 0xffff) as usize
}

/// Bytes of a type with this `info`, what follows its fixed part included.
const fn size_of_type(info: u32) -> usize {
    12 + match kind(info) {
        // Integer, variable, declaration tag.
        1 | 14 | 17 => 4,
        // Array.
        3 => 12,
        // Struct, union, data section, 64-bit enum.
        KIND_STRUCT | 5 | 15 | 19 => 12 * count(info),
        // Enum, function prototype.
        6 | 13 => 8 * count(info),
        _ => 0,
    }
}
