//! Socket options that have no safe wrapper of their own.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

/// A C type of a socket option: plain data in which every bit counts.
///
/// # Safety
/// The kernel reads the value's bytes: the value must have no padding, and its pointers must be
/// valid.
pub(super) unsafe trait Value {}

// SAFETY: an integer.
unsafe impl Value for libc::c_int {}
// SAFETY: as above.
unsafe impl Value for u64 {}
// SAFETY: integers without padding between them.
unsafe impl Value for [u32; 8] {}

pub(super) fn set<T: Value>(
    socket: impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Reads an option of a type for which every bit pattern is a value.
pub(super) fn get<T: Value + Default>(
    socket: impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
) -> io::Result<T> {
    let mut value = T::default();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointers and the length are those of `value` and `len`, which outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    if result == 0 {
        Ok(value)
    } else {
        Err(io::Error::last_os_error())
    }
}
