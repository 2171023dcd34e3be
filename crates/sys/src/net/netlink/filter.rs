//! TC filters that run BPF programs on the egress of an interface.

use super::transport::{Failure, Transport};
use netlink_packet_core::{DecodeError, NLM_F_CREATE, NLM_F_EXCL, NlasIterator};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption},
};
use nix::errno::Errno;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// The parent of egress filters.
const EGRESS: TcHandle = TcHandle {
    major: TcHandle::CLSACT.major,
    minor: TcHandle::MIN_EGRESS,
};
const CLSACT: &str = "clsact";
const BPF: &str = "bpf";
const HEADER_LEN: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;

/// A filter that runs a BPF program on the egress of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressFilter {
    /// `pref` in `tc`: lower ones come first.
    pub priority: u16,
    pub handle: u32,
    /// The filter's name from its creation: any text of less than 256 bytes.
    pub name: String,
}

impl Transport {
    /// Adds the qdisc that egress filters need. An existing one may belong to another program, and
    /// stays unchanged.
    pub(super) fn add_clsact(&mut self, ifindex: u32) -> Result<(), Failure> {
        let mut message = TcMessage::with_index(ifindex.cast_signed());
        message.header.parent = TcHandle::CLSACT;
        message.header.handle = TcHandle {
            minor: 0,
            ..TcHandle::CLSACT
        };
        message
            .attributes
            .push(TcAttribute::Kind(CLSACT.to_owned()));
        let message = RouteNetlinkMessage::NewQueueDiscipline(message);
        match self.execute(message, NLM_F_CREATE | NLM_F_EXCL) {
            Err(failure) if failure.errno() == Some(Errno::EEXIST) => Ok(()),
            result => result,
        }
    }

    /// Adds a filter, or gives an existing one its new program. Each packet meets the old program
    /// or the new one.
    pub(super) fn put_filter(
        &mut self,
        ifindex: u32,
        filter: &EgressFilter,
        program: BorrowedFd<'_>,
        replace: bool,
    ) -> Result<(), Failure> {
        let mut message = TcMessage::from_parts(header(ifindex, filter), Vec::new());
        message.attributes.push(TcAttribute::Kind(BPF.to_owned()));
        let options = [
            TcFilterBpfOption::ProgFd(program.as_raw_fd().cast_unsigned()),
            TcFilterBpfOption::ProgName(filter.name.clone()),
            // The return value of the program decides about the packet.
            TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
        ];
        let options = options.map(TcOption::Bpf).to_vec();
        message.attributes.push(TcAttribute::Options(options));
        let flags = if replace {
            0
        } else {
            NLM_F_CREATE | NLM_F_EXCL
        };
        self.execute(RouteNetlinkMessage::NewTrafficFilter(message), flags)
    }

    /// `false`: there was no such filter.
    pub(super) fn delete_filter(
        &mut self,
        ifindex: u32,
        filter: &EgressFilter,
    ) -> Result<bool, Failure> {
        let message = TcMessage::from_parts(header(ifindex, filter), Vec::new());
        match self.execute(RouteNetlinkMessage::DelTrafficFilter(message), 0) {
            Ok(()) => Ok(true),
            Err(failure) if matches!(failure.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => {
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    /// The filters that run BPF programs.
    pub(super) fn filters(&mut self, ifindex: u32) -> Result<Vec<EgressFilter>, Failure> {
        let mut message = TcMessage::with_index(ifindex.cast_signed());
        message.header.parent = EGRESS;
        let message = RouteNetlinkMessage::GetTrafficFilter(message);
        Ok(self
            .list(&message, read_filter)?
            .into_iter()
            .flatten()
            .collect())
    }
}

fn header(ifindex: u32, filter: &EgressFilter) -> TcHeader {
    let all = (libc::ETH_P_ALL as u16).to_be();
    TcHeader {
        index: ifindex.cast_signed(),
        handle: filter.handle.into(),
        parent: EGRESS,
        info: (u32::from(filter.priority) << 16) | u32::from(all),
        ..TcHeader::default()
    }
}

/// Reads only the needed attributes. `None` for the entry of all filters of one priority, and for
/// filters of another kind.
fn read_filter(body: &[u8]) -> Result<Option<EgressFilter>, DecodeError> {
    let header = TcHeader::parse(body)?;
    let (mut kind, mut name) = (String::new(), None);
    for attribute in NlasIterator::new(&body[HEADER_LEN..]) {
        let attribute = attribute?;
        match attribute.kind() {
            TCA_KIND => kind = text(attribute.value()),
            TCA_OPTIONS => {
                for option in NlasIterator::new(attribute.value()) {
                    let option = option?;
                    if option.kind() == TCA_BPF_NAME {
                        name = Some(text(option.value()));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(name.filter(|_| kind == BPF).map(|name| EgressFilter {
        priority: (header.info >> 16) as u16,
        handle: header.handle.into(),
        name,
    }))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches('\0')
        .to_owned()
}
