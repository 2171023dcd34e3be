//! A `heartbeat` binary of another release: its kernel programs do the same by other instructions.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::cluster::BINARY;

/// The variable with the path of the BPF object in the binary. `cargo xtask` sets it.
const OBJECT: &str = "HEARTBEAT_BPF_OBJECT";
const INSTRUCTION: usize = 8;
/// `if rA == rB` and `if rA != rB`, of 64 and of 32 bits (RFC 9669, section 4.3).
const SYMMETRIC: [u8; 4] = [0x1d, 0x5d, 0x1e, 0x5e];

/// Writes the variant into `dir`.
pub fn write(dir: &Path) -> Result<PathBuf> {
    let read = |variable: &str| {
        let path = env::var(variable).with_context(|| format!("{variable} is not set"))?;
        fs::read(&path).with_context(|| format!("cannot read {path}"))
    };
    let (mut binary, object) = (read(BINARY)?, read(OBJECT)?);
    let windows = binary.windows(object.len());
    let at = windows.into_iter().position(|part| part == object);
    let at = at.context("the binary does not hold the object: build both by one `cargo xtask`")?;
    let mut changed = 0;
    for section in code(&object)? {
        let code = &mut binary[at..][section];
        // Swapping the operands of a comparison changes nothing but the program's tag.
        for instruction in code.chunks_exact_mut(INSTRUCTION) {
            let registers = instruction[1];
            if SYMMETRIC.contains(&instruction[0]) && registers >> 4 != registers & 0xf {
                instruction[1] = registers.rotate_left(4);
                changed += 1;
            }
        }
    }
    ensure!(
        changed > 0,
        "no instruction of the object can be written in another way"
    );
    let path = dir.join("heartbeat-variant");
    fs::write(&path, binary)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// The code sections of an object in little-endian ELF64.
fn code(object: &[u8]) -> Result<Vec<std::ops::Range<usize>>> {
    const HEADER: usize = 64;
    const CODE: u32 = 1;
    const EXECUTABLE: u64 = 4;
    let word = |at: usize| -> Result<u64> {
        let bytes = object.get(at..at + 8).context("the object is cut short")?;
        Ok(u64::from_le_bytes(bytes.try_into()?))
    };
    let table = word(0x28)? as usize;
    let count = (word(0x38)? >> 32) as u16;
    let mut sections = Vec::new();
    for header in (0..usize::from(count)).map(|number| table + number * HEADER) {
        let kind = (word(header)? >> 32) as u32;
        if kind == CODE && word(header + 8)? & EXECUTABLE != 0 {
            let start = word(header + 0x18)? as usize;
            sections.push(start..start + word(header + 0x20)? as usize);
        }
    }
    Ok(sections)
}
