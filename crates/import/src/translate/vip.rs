//! IPaddr2, which either stays an agent or becomes the built-in `vip`.

use std::net::IpAddr;

use crate::{
    emit::{Comment, Remark, Value},
    model::{Agent, Attrs, Primitive},
    values,
};

/// Whether the agent is one of those that add an address.
pub(super) fn is_address(agent: &Agent) -> bool {
    agent.class == "ocf"
        && agent.provider.as_deref() == Some("heartbeat")
        && ["IPaddr", "IPaddr2"].contains(&agent.kind.as_str())
}

/// The network place of a virtual address.
pub(super) struct Place {
    /// The id of the resource.
    pub(super) id: String,
    ip: IpAddr,
    prefix: u8,
    pub(super) nic: String,
}

impl Place {
    /// `None` if `primitive` is no address, or lacks a nic and a network.
    pub(super) fn of(primitive: &Primitive) -> Option<Self> {
        if !primitive.agent.as_ref().is_some_and(is_address) {
            return None;
        }
        let params = &primitive.settings.params;
        let ip: IpAddr = params.get("ip")?.parse().ok()?;
        Some(Self {
            id: primitive.id.clone(),
            prefix: prefix_len(params.get("cidr_netmask")?, ip)?,
            ip,
            nic: nic(params.get("nic")?)?,
        })
    }

    /// Whether `address` is in the same network.
    pub(super) fn is_beside(&self, address: IpAddr) -> bool {
        let shift = |bits: u32| bits.saturating_sub(self.prefix.into());
        match (self.ip, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let differ = u64::from(a.to_bits() ^ b.to_bits());
                differ >> shift(32) == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let differ = a.to_bits() ^ b.to_bits();
                differ.checked_shr(shift(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// `24`, or `255.255.255.0`.
fn prefix_len(text: &str, ip: IpAddr) -> Option<u8> {
    let most = if ip.is_ipv4() { 32 } else { 128 };
    if let Ok(len) = text.parse::<u8>() {
        return Some(len).filter(|len| *len <= most);
    }
    let mask: std::net::Ipv4Addr = text.parse().ok()?;
    let len = mask.to_bits().leading_ones();
    let whole = mask.to_bits().checked_shl(len).unwrap_or(0) == 0;
    u8::try_from(len).ok().filter(|_| whole && ip.is_ipv4())
}

/// An interface's name, without the label that old configurations append: `eth0:1`.
fn nic(text: &str) -> Option<String> {
    let name = text.split(':').next().unwrap_or_default();
    values::is_interface(name).then(|| name.to_owned())
}

/// Parameters that the built-in vip does not need, and the reasons.
const HARMLESS: [(&[&str], &str); 5] = [
    (
        &["iflabel"],
        "a label is only a name for display: the address works without it",
    ),
    (
        &["broadcast"],
        "the kernel derives the broadcast address from the address and its length",
    ),
    (
        &[
            "arp_interval",
            "arp_count",
            "arp_count_refresh",
            "arp_bg",
            "arp_mac",
            "arp_sender",
            "send_arp_opts",
            "run_arping",
            "nodad",
        ],
        "heartbeat announces the address itself, by ARP and neighbour discovery, as soon as it \
         serves it",
    ),
    (
        &["noprefixroute", "flush_routes", "preferred_lft"],
        "heartbeat adds the address to the interface and changes no routes",
    ),
    (
        &["check_link_status", "proto"],
        "heartbeat watches the interface itself",
    ),
];
/// Parameters without an effect when switched off.
const SWITCHES: [&str; 3] = ["lvs_support", "unique_clone_address", "lvs_ipv6_addrlabel"];

/// A `vip` with the effect of an agent.
pub(super) struct Fields {
    pub(super) fields: Vec<(&'static str, Value)>,
    /// Comments on dropped parameters.
    pub(super) comments: Vec<Comment>,
}

/// The `vip` with the effect of the agent `owner` with `params`, or the reason why there is none.
pub(super) fn fields(owner: &str, params: &Attrs) -> Result<Fields, String> {
    let ip = params.get("ip").unwrap_or_default();
    let ip: IpAddr = ip
        .parse()
        .map_err(|_| format!("ip=\"{ip}\" is not an address"))?;
    let mut comments = Vec::new();
    let address = match params.get("cidr_netmask") {
        Some(mask) => {
            let prefix =
                prefix_len(mask, ip).ok_or_else(|| format!("cidr_netmask={mask} is not one"))?;
            format!("{ip}/{prefix}")
        }
        None => {
            comments.push(Comment::general(
                "without cidr_netmask, Pacemaker and heartbeat both use the prefix length of the \
                 interface's network",
            ));
            ip.to_string()
        }
    };
    let mut fields = vec![
        ("type", Value::from("vip")),
        ("address", Value::Text(address)),
    ];
    match params.get("nic") {
        Some(text) => {
            let nic = nic(text).ok_or_else(|| format!("nic={text} is not an interface"))?;
            if nic == "lo" {
                return Err(
                    "an address on lo is not announced, and each node would seem to have \
                     it"
                    .to_owned(),
                );
            }
            fields.push(("interface", Value::Text(nic)));
        }
        None => comments.push(Comment::general(
            "without a nic, heartbeat uses the interface of the first link",
        )),
    }
    let mut seen: Vec<&str> = Vec::new();
    for attr in &params.0 {
        let name = attr.name.as_str();
        let dropped = |why: &str| -> Comment {
            let subject = format!("parameter {name}={} of {owner}", attr.value);
            Remark::new(&attr.place, subject, why, "no action needed").into()
        };
        if seen.contains(&name) {
            comments.push(dropped("it is set twice, and the first value applies"));
            continue;
        }
        seen.push(name);
        if name == "nic" && attr.value.contains(':') {
            comments.push(dropped(HARMLESS[0].1));
        }
        let harmless = HARMLESS.iter().find(|(names, _)| names.contains(&name));
        let off = SWITCHES.contains(&name) && values::truth(&attr.value) == Some(false);
        match harmless {
            _ if ["ip", "cidr_netmask", "nic"].contains(&name) => {}
            Some((_, why)) => comments.push(dropped(why)),
            None if off => comments.push(dropped(
                "it is switched off, which is the same in \
            heartbeat",
            )),
            None => {
                return Err(format!(
                    "the built-in vip has no counterpart of {name}={}",
                    attr.value
                ));
            }
        }
    }
    Ok(Fields { fields, comments })
}
