//! The reasons why keywords of keepalived are left out, and the remedies.

use super::syntax::Item;
use crate::{
    emit::{Comment, Remark},
    place::Place,
};

/// A reason for leaving something out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    State,
    Vrrp,
    Times,
    Authentication,
    Delay,
    Preempt,
    Routes,
    Static,
    Mail,
    Notify,
    Users,
    Ipvs,
    Tracker,
    Debounce,
    Daemon,
    Included,
    Conditional,
    Parameter,
    Option,
    Twice,
    Undefined,
    Untracked,
    Reverse,
    Many,
    Differs,
    Empty,
    Taken,
    Unknown,
}

/// Keywords in global_defs and in instances that only VRRP has.
const VRRP: [&str; 33] = [
    "virtual_router_id",
    "version",
    "native_ipv6",
    "mcast_dst_ip",
    "track_src_ip",
    "check_unicast_src",
    "unicast_fault_no_peer",
    "unicast_ttl",
    "old_unicast_checksum",
    "v3_checksum_as_v2",
    "garp_master_delay",
    "garp_master_repeat",
    "garp_lower_prio_delay",
    "garp_lower_prio_repeat",
    "garp_master_refresh",
    "garp_master_refresh_repeat",
    "garp_interval",
    "gna_interval",
    "garp_extra_if",
    "timer_expired_backup",
    "lower_prio_no_advert",
    "higher_prio_send_advert",
    "skip_check_adv_addr",
    "strict_mode",
    "kernel_rx_buf_size",
    "use_vmac",
    "use_vmac_addr",
    "vmac_xmit_base",
    "use_ipvlan",
    "accept",
    "no_accept",
    "promote_secondaries",
    "no_virtual_ipaddress",
];

impl Why {
    /// The reason for leaving out a keyword that no other part of the import uses.
    pub(super) fn of(keyword: &str) -> Self {
        match keyword {
            "state" => Self::State,
            "advert_int" | "down_timer_adverts" => Self::Times,
            "authentication" | "auth_hmac" | "auth_type" | "auth_pass" => Self::Authentication,
            "preempt_delay" => Self::Delay,
            "preempt" => Self::Preempt,
            "virtual_routes" | "virtual_rules" => Self::Routes,
            "static_ipaddress" | "static_routes" | "static_rules" | "track_group" => Self::Static,
            "notification_email" | "notification_email_from" | "no_email_faults" => Self::Mail,
            _ if keyword.starts_with("smtp_") => Self::Mail,
            _ if keyword.starts_with("notify") => Self::Notify,
            "script_user" | "enable_script_security" => Self::Users,
            "user" | "set_supplementary_groups" => Self::Users,
            "virtual_server" | "virtual_server_group" | "real_server" | "SSL" => Self::Ipvs,
            _ if keyword.starts_with("lvs_") || keyword.starts_with("checker_") => Self::Ipvs,
            "track_file" | "vrrp_track_file" | "track_bfd" | "bfd_instance" => Self::Tracker,
            "global_tracking" | "sync_group_tracking_weight" | "init_fail" => Self::Tracker,
            "interface_up_down_delays" | "dont_track_primary" => Self::Debounce,
            "linkbeat_interfaces" | "linkbeat_use_polling" => Self::Debounce,
            "net_namespace" | "instance" | "use_pid_dir" | "debug" | "process_names" => {
                Self::Daemon
            }
            "startup_script" | "shutdown_script" | "dynamic_interfaces" => Self::Daemon,
            "max_auto_priority" => Self::Daemon,
            _ if VRRP.contains(&keyword) || keyword.starts_with("vrrp_") => Self::Vrrp,
            _ => Self::Unknown,
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::State => {
                "keepalived only starts in this state; the priority decides, and in heartbeat the \
                 location"
            }
            Self::Vrrp => {
                "heartbeat does not use VRRP: a node serves by a lease that a majority \
            grants"
            }
            Self::Times => {
                "heartbeat's kernel programs answer heartbeats, so interval, timeout and lease are \
                 milliseconds and are not derived from it"
            }
            Self::Authentication => "heartbeats are always authenticated, with heartbeat's own key",
            Self::Delay => {
                "a group moves back to a better node as soon as that node may serve \
            again"
            }
            Self::Preempt => "the same in heartbeat: a group moves back to the better node",
            Self::Routes => "heartbeat moves no routes and rules with an address",
            Self::Static => "a static setting belongs to the host's own configuration",
            Self::Mail => "heartbeat sends no mail",
            Self::Notify => "heartbeat has no such event",
            Self::Users => "health checks and hooks run as root, like the agent",
            Self::Ipvs => "heartbeat balances no load and does not configure IPVS",
            Self::Tracker => "heartbeat has no such check",
            Self::Debounce => "groups leave a network without a carrier at once",
            Self::Daemon => "the setting concerns keepalived's own processes",
            Self::Included => "the import opens no other file",
            Self::Conditional => "the import does not evaluate the condition of a line with @",
            Self::Parameter => "the import substitutes no parameters",
            Self::Option => "a vip has only an address, a length and an interface",
            Self::Twice => "it is set already, or has no value",
            Self::Undefined => "nothing in the input has this name",
            Self::Untracked => "no instance tracks it, so keepalived does not run it either",
            Self::Reverse => "a reversed check succeeds if its test fails",
            Self::Many => "a node has at most 15 health checks",
            Self::Differs => "the files of the nodes differ here, and the first file applies",
            Self::Empty => "the instance has no address",
            Self::Taken => "another instance above serves this address already",
            Self::Unknown => "the import does not know this keyword",
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::State | Self::Preempt => "no action needed",
            Self::Vrrp => "open UDP and TCP port 694 between the nodes in the firewall",
            Self::Times => {
                "start with the defaults; docs/operate/timing.md describes how to set them"
            }
            Self::Authentication => "make the key with `heartbeat keygen` and copy it to all nodes",
            Self::Delay => {
                "write stickiness = \"inf\" in the group if only an operator may move it back"
            }
            Self::Routes => {
                "put an exec resource behind the address, whose start and stop run `ip route`"
            }
            Self::Static => "put it into the configuration of the host's network",
            Self::Mail => "let a [[hook]] send it",
            Self::Notify => "see the events of [[hook]] in docs/heartbeat.toml.example",
            Self::Users => "let the program change its user, as by `runuser -u USER --`",
            Self::Ipvs => {
                "keep keepalived for the virtual servers alone (`keepalived --check`), or put a \
                 balancer that configures itself, such as haproxy, into the group"
            }
            Self::Tracker => "write a [[health]] of type exec with the same test",
            Self::Debounce => "see `A network that fails` in docs/operate/health-and-load.md",
            Self::Daemon => "no action needed, unless a script must run: make it a systemd unit",
            Self::Included => "insert the text of that file here, and import again",
            Self::Conditional => {
                "import the file as the node applies it: without the @ and its \
            word"
            }
            Self::Parameter => "write the value where the parameter is used, and import again",
            Self::Option => "check that nothing depends on it",
            Self::Twice | Self::Undefined => "correct it, and import again",
            Self::Untracked => "no action needed",
            Self::Reverse => "write a [[health]] of type exec with the opposite test",
            Self::Many => "combine several of them in one program",
            Self::Differs => {
                "check whether this was intended; hooks, interfaces and the tests of checks may \
                 differ between nodes, because each node has its own file"
            }
            Self::Empty => "no action needed, unless its scripts must run",
            Self::Taken => {
                "if both are one instance under two names, use one name, and import \
            again"
            }
            Self::Unknown => "check whether anything depends on it",
        }
    }

    /// Whether the words after the keyword may be secret.
    fn is_secret(self) -> bool {
        self == Self::Authentication
    }
}

/// A part that is left out.
#[derive(Clone, Debug)]
pub(super) struct Left {
    /// The owner of the part, as in `of vrrp_instance VI_1`; empty for the whole.
    pub(super) owner: String,
    /// The texts of the part; several where parts are joined.
    subjects: Vec<String>,
    places: Vec<Place>,
    why: Why,
}

impl Left {
    /// `item` with all items in its block.
    pub(super) fn new(owner: &str, item: &Item, why: Why) -> Self {
        let subject = match why.is_secret() {
            true => item.keyword().to_owned(),
            false => item.text(),
        };
        let mut places = vec![item.place.clone()];
        gather(item, &mut places);
        Self {
            owner: owner.to_owned(),
            subjects: vec![subject],
            places,
            why,
        }
    }

    /// `item` with the reason for its keyword.
    pub(super) fn by_keyword(owner: &str, item: &Item) -> Self {
        Self::new(owner, item, Why::of(item.keyword()))
    }

    /// A single word at `place`.
    pub(super) fn word(owner: &str, subject: String, place: &Place, why: Why) -> Self {
        Self {
            owner: owner.to_owned(),
            subjects: vec![subject],
            places: vec![place.clone()],
            why,
        }
    }
}

fn gather(item: &Item, places: &mut Vec<Place>) {
    for inner in item.items() {
        places.push(inner.place.clone());
        gather(inner, places);
    }
}

/// One remark for each owner and reason, in the order of their first appearance.
pub(super) fn remarks(lefts: &[Left]) -> Vec<Comment> {
    let mut joint: Vec<Left> = Vec::new();
    for left in lefts {
        let same = |one: &&mut Left| one.owner == left.owner && one.why == left.why;
        let Some(known) = joint.iter_mut().find(same) else {
            joint.push(left.clone());
            continue;
        };
        if !known
            .subjects
            .iter()
            .any(|subject| left.subjects.contains(subject))
        {
            known.subjects.extend(left.subjects.iter().cloned());
        }
        known.places.extend(left.places.iter().cloned());
    }
    joint.into_iter().filter_map(remark).collect()
}

fn remark(left: Left) -> Option<Comment> {
    let Left {
        owner,
        subjects,
        mut places,
        why,
    } = left;
    places.sort();
    places.dedup();
    let lead = if owner.is_empty() { "" } else { " of " };
    let subject = format!("{}{lead}{owner}", subjects.join(", "));
    let (first, others) = places.split_first()?;
    let remark = Remark::new(first, subject, why.reason(), why.remedy());
    Some(remark.also(others.iter().cloned()).into())
}
