//! The `type` of a resource: `vip`, `ocf:PROVIDER:AGENT`, `systemd:UNIT` or `exec`.

use super::{
    read::Invalid,
    readers::Written,
    report::nearest,
    types::{Ocf, ResourceKind},
    values,
};

/// The texts that [`parse`] takes, for the documents.
pub(super) const TAKES: &str = "`vip`, `ocf:PROVIDER:AGENT`, `systemd:UNIT` or `exec`";

/// A type as the file names it.
pub(super) enum Type {
    Vip,
    Ocf { provider: String, agent: String },
    Systemd(String),
    Exec,
}

impl Type {
    /// The type of a resource that was read.
    pub(super) fn of(kind: &ResourceKind) -> Self {
        match kind {
            ResourceKind::Vip(_) => Self::Vip,
            ResourceKind::Ocf(Ocf {
                provider, agent, ..
            }) => Self::Ocf {
                provider: provider.clone(),
                agent: agent.clone(),
            },
            ResourceKind::Systemd(unit) => Self::Systemd(unit.clone()),
            ResourceKind::Exec(_) => Self::Exec,
        }
    }

    /// The word before the first colon.
    pub(super) const fn class(&self) -> &'static str {
        match self {
            Self::Vip => "vip",
            Self::Ocf { .. } => "ocf",
            Self::Systemd(_) => "systemd",
            Self::Exec => "exec",
        }
    }
}

impl Written for Type {
    fn written(&self) -> String {
        match self {
            Self::Ocf { provider, agent } => format!("ocf:{provider}:{agent}"),
            Self::Systemd(unit) => format!("systemd:{unit}"),
            Self::Vip | Self::Exec => self.class().to_owned(),
        }
    }
}

/// Reads a type.
pub(super) fn parse(text: &str) -> Result<Type, Invalid> {
    match text.split_once(':') {
        None if text == "vip" => Ok(Type::Vip),
        None if text == "exec" => Ok(Type::Exec),
        None if text == "systemd" => Err(Invalid::new(
            " names no unit",
            "write it as in \"systemd:nginx.service\"",
        )),
        Some(("ocf", agent)) => ocf(agent),
        None if text == "ocf" => ocf(""),
        Some(("systemd", unit)) => values::unit("systemd:")(unit).map(Type::Systemd),
        _ => {
            let class = text.split(':').next().unwrap_or_default();
            let remedy = match nearest(class, ["vip", "ocf", "systemd", "exec"]) {
                Some(likely) if likely != class => format!("did you mean `{likely}`?"),
                _ => "use vip, ocf:PROVIDER:AGENT, systemd:UNIT or exec".to_owned(),
            };
            Err(Invalid::new(" is no type of resource", remedy))
        }
    }
}

fn ocf(agent: &str) -> Result<Type, Invalid> {
    const EXAMPLE: &str = "write ocf:PROVIDER:AGENT, as in \"ocf:heartbeat:apache\"";
    // A name becomes part of a path: no slash, and nothing that is hidden or leads up.
    let is_name = |name: &str| values::name(name).is_ok() && !name.starts_with('.');
    let parts: Vec<&str> = agent.split(':').collect();
    match parts[..] {
        [provider, agent] if is_name(provider) && is_name(agent) => Ok(Type::Ocf {
            provider: provider.to_owned(),
            agent: agent.to_owned(),
        }),
        [_, _] => Err(Invalid::new(
            " is no name of an OCF agent",
            format!("{EXAMPLE}; names are of letters, digits, `_`, `.` and `-`"),
        )),
        // As crm_mon writes it.
        ["", provider, agent] if is_name(provider) && is_name(agent) => Err(Invalid::new(
            " has a colon too many",
            format!("write \"ocf:{provider}:{agent}\""),
        )),
        _ => Err(Invalid::new(" does not name one OCF agent", EXAMPLE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_get_the_suffix_that_they_lack() {
        let named = |text: &str| values::unit("")(text).ok();
        assert_eq!(named("nginx").unwrap(), "nginx.service");
        assert_eq!(named("nginx.service").unwrap(), "nginx.service");
        assert_eq!(named("data.mount").unwrap(), "data.mount");
        assert_eq!(named("a.b").unwrap(), "a.b.service");
        assert_eq!(named("getty@tty1").unwrap(), "getty@tty1.service");
        assert_eq!(named("dev-disk\\x2d1").unwrap(), "dev-disk\\x2d1.service");
        let longest = "x".repeat(247);
        assert!(named(&longest).is_some());
        for bad in [
            "",
            ".service",
            "@.service",
            "a b",
            "a/b",
            "é",
            "a@",
            "a@.timer",
        ] {
            assert_eq!(named(bad), None, "{bad}");
        }
        assert_eq!(named(&format!("{longest}x")), None);
    }

    #[test]
    fn agents_are_named_by_provider_and_name() {
        let good = |text: &str| parse(text).is_ok();
        assert!(good("ocf:heartbeat:IPaddr2") && good("ocf:my-org:db_2.0"));
        for bad in [
            "ocf",
            "ocf:",
            "ocf:apache",
            "ocf::apache",
            "ocf:heartbeat:",
            "ocf:a:b:c",
            "ocf:.:b",
            "ocf:a:..",
            "ocf:a:b/c",
            "ocf:../a:b",
            "ocf::heartbeat:apache",
            "OCF:a:b",
            "vip:x",
            "lsb:x",
            "",
            "exec:/bin/true",
            "systemd",
            "systemd:",
        ] {
            assert!(!good(bad), "{bad}");
        }
    }
}
