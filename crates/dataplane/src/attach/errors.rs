//! The number and the text of the kernel's refusal of a program.

use aya::{
    programs::{ProgramError, xdp::XdpError},
    sys::SyscallError,
};

pub(crate) fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(SyscallError { io_error, .. }) => io_error.raw_os_error(),
        ProgramError::XdpError(XdpError::NetlinkError(error)) => error.raw_os_error(),
        _ => None,
    }
}

pub(crate) fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::SyscallError(SyscallError { call, io_error }) => {
            format!("{call}: {io_error}")
        }
        other => other.to_string(),
    }
}
