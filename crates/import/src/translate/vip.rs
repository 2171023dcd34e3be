//! IPaddr2, which is either kept as an agent or becomes the built-in `vip`.

use std::net::IpAddr;

use crate::{
    emit::Value,
    model::{Agent, Attrs, Primitive},
};

/// Whether it is one of the agents that add an address.
pub(super) fn is_address(agent: &Agent) -> bool {
    agent.class == "ocf"
        && agent.provider.as_deref() == Some("heartbeat")
        && ["IPaddr", "IPaddr2"].contains(&agent.kind.as_str())
}

/// Where a virtual address goes.
pub(super) struct Place {
    /// Its resource.
    pub(super) id: String,
    ip: IpAddr,
    prefix: u8,
    pub(super) nic: String,
}

impl Place {
    /// `None` if `primitive` is no address, or does not tell its nic and its network.
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

/// An interface's name, without the alias that old configurations append.
fn nic(text: &str) -> Option<String> {
    let usable =
        !text.is_empty() && !text.contains([':', '/']) && !text.contains(char::is_whitespace);
    usable.then(|| text.to_owned())
}

/// The fields of a `vip` that does what an agent with `params` does, or why there is none.
pub(super) fn fields(params: &Attrs) -> Result<Vec<(&'static str, Value)>, String> {
    let mut seen = Vec::new();
    for attr in &params.0 {
        if !["ip", "cidr_netmask", "nic"].contains(&attr.name.as_str()) {
            return Err(format!(
                "the built-in vip has nothing like {}={}",
                attr.name, attr.value
            ));
        }
        if seen.contains(&&attr.name) {
            return Err(format!("{} stands twice", attr.name));
        }
        seen.push(&attr.name);
    }
    let ip = params.get("ip").unwrap_or_default();
    let ip: IpAddr = ip
        .parse()
        .map_err(|_| format!("ip=\"{ip}\" is not an address"))?;
    let Some(mask) = params.get("cidr_netmask") else {
        return Err("without cidr_netmask nobody knows the length of the subnet".to_owned());
    };
    let prefix = prefix_len(mask, ip).ok_or_else(|| format!("cidr_netmask={mask} is not one"))?;
    let mut fields = vec![
        ("type", Value::from("vip")),
        ("address", Value::Text(format!("{ip}/{prefix}"))),
    ];
    if let Some(text) = params.get("nic") {
        let nic = nic(text).ok_or_else(|| format!("nic={text} is no interface"))?;
        fields.push(("interface", Value::Text(nic)));
    }
    Ok(fields)
}
