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
                "it is what keepalived begins with; the priority decides, and here the location"
            }
            Self::Vrrp => "nothing goes by VRRP here: the right to serve is a lease by a majority",
            Self::Times => {
                "interval, timeout and lease are not derived from it: kernels answer heartbeats \
                 here, so the defaults are milliseconds"
            }
            Self::Authentication => {
                "heartbeats are always authenticated, with a key of their own kind"
            }
            Self::Delay => "a group goes back to a better node as soon as that is fit again",
            Self::Preempt => "so it is here: a group goes back to the better node",
            Self::Routes => "routes and rules do not move with an address here",
            Self::Static => "what stays on the host is the host's own configuration",
            Self::Mail => "heartbeat sends no mail",
            Self::Notify => "no event here is the same",
            Self::Users => "health checks and hooks run as the agent does, which is root",
            Self::Ipvs => "heartbeat balances no load: IPVS is not its business",
            Self::Tracker => "there is no such check here",
            Self::Debounce => {
                "a network without a carrier is left by what is served on it, at once"
            }
            Self::Daemon => "it is about keepalived's own processes",
            Self::Included => "no other file is opened",
            Self::Conditional => "whom a line is for that begins with @ is not decided here",
            Self::Parameter => "parameters are not substituted",
            Self::Option => "a vip has an address, a length and an interface",
            Self::Twice => "it stands there already, or says nothing",
            Self::Undefined => "nothing has this name",
            Self::Untracked => "no instance tracks it, so keepalived does not run it either",
            Self::Reverse => "a check that is reversed wants something to fail",
            Self::Many => "a node has at most 15 health checks",
            Self::Differs => "the files of the nodes differ in it, and the first one counts",
            Self::Empty => "there is no address to serve",
            Self::Taken => "the address is served already, by what stands above",
            Self::Unknown => "the importer does not know this keyword",
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::State | Self::Preempt => "nothing is to be done",
            Self::Vrrp => "let the firewall pass UDP and TCP on port 694 between the nodes",
            Self::Times => {
                "start with the defaults; docs/operate/timing.md tells how to \
                 set them"
            }
            Self::Authentication => "make it with `heartbeat keygen` and copy it to all nodes",
            Self::Delay => {
                "to keep it where it is until an operator moves it, write stickiness = \"inf\" in \
                 the group"
            }
            Self::Routes => {
                "put an exec resource behind the address, whose start and stop run `ip route`"
            }
            Self::Static => "leave it to the network's configuration",
            Self::Mail => "let a [[hook]] send it",
            Self::Notify => "see the events of [[hook]] in docs/heartbeat.toml.example",
            Self::Users => "let the program change its user, as by `runuser -u USER --`",
            Self::Ipvs => {
                "keep keepalived for the virtual servers alone (`keepalived --check`), or put a \
                 balancer that configures itself, such as haproxy, into the group"
            }
            Self::Tracker => "write a [[health]] of type exec that looks for the same",
            Self::Debounce => "see `A network that fails` in docs/operate/health-and-load.md",
            Self::Daemon => "nothing is to be done, unless a script is to run: make it a unit",
            Self::Included => "put its text in its place, and import again",
            Self::Conditional => "import the file as the node sees it: without the @ and its word",
            Self::Parameter => "write the value where the parameter is used, and import again",
            Self::Option => "check that nothing depends on it",
            Self::Twice | Self::Undefined => "correct it, and import again",
            Self::Untracked => "nothing is to be done",
            Self::Reverse => "write a [[health]] of type exec that looks for the opposite",
            Self::Many => "join some of them into one program",
            Self::Differs => {
                "see whether that was meant; hooks, interfaces and what a check looks at may differ \
                 from node to node, as each node has its own file"
            }
            Self::Empty => "nothing is to be done, unless its scripts are to run",
            Self::Taken => "if it is one instance under two names, give it one, and import again",
            Self::Unknown => "see whether anything depends on it",
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
