//! Whether addresses can be served on the interfaces that the configuration names for them.
//!
//! Asks the kernel what they are; an interface that is missing may come, and is no error.

use anyhow::{Result, bail};

use crate::{
    config::{Config, Vip},
    net::Netlink,
};

/// What is wrong with the interfaces of the addresses that the local node may serve, each in words.
pub fn complaints(config: &Config) -> Vec<String> {
    // Whoever cannot be asked says nothing against it.
    let Ok(mut netlink) = Netlink::open() else {
        return Vec::new();
    };
    let mut is_other = |vip: &&Vip| {
        let found = netlink.interface(&vip.interface);
        found.is_ok_and(|interface| !interface.ethernet)
    };
    let vips = config.served().iter();
    vips.filter(|vip| is_other(vip))
        .map(|vip| {
            format!(
                "{}: vip \"{}\": \"{}\" is no Ethernet interface (as `lo`, tunnels and PPP are none): no neighbour \
                 asks for addresses there, so {} could not move\n  name the interface of the network that \
                 clients are in; an address on `lo` (for LVS-DR or anycast) is set up without heartbeat",
                config.path.display(),
                vip.name,
                vip.interface,
                vip.address,
            )
        })
        .collect()
}

/// Fails if there is anything wrong with them.
pub fn ensure(config: &Config) -> Result<()> {
    let complaints = complaints(config);
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_interface_that_is_there_and_no_wire_is_complained_of() {
        let text = "[cluster]\nname = \"x\"\n[[link]]\ninterface = \"none0\"\n\
                    [[node]]\nname = \"a\"\nid = 1\naddresses = [\"10.0.0.1\"]\n\
                    [[node]]\nname = \"b\"\nid = 2\naddresses = [\"10.0.0.2\"]\n\
                    [[node]]\nname = \"c\"\nid = 3\naddresses = [\"10.0.0.3\"]\n\
                    [[vip]]\nname = \"one\"\naddress = \"10.0.0.100/24\"\n\
                    [[vip]]\nname = \"two\"\naddress = \"10.9.9.9/32\"\ninterface = \"lo\"\n";
        let config = Config::parse(text, "hb.toml".as_ref(), Some("a"), "").expect("it is good");
        let complaints = complaints(&config);
        let [complaint] = complaints.as_slice() else {
            panic!("{complaints:?}");
        };
        assert!(
            complaint.starts_with("hb.toml: vip \"two\": \"lo\" is no Ethernet interface"),
            "{complaint}"
        );
        assert!(ensure(&config).is_err());
    }
}
