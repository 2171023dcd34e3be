//! Exclusive resources: those that do harm when two nodes run them at a time.
//!
//! A lease and the guard keep an *address* on one node. Nothing keeps a process, a mount or a
//! volume of a node that is cut off, or whose agent is dead, from going on beside its successor. So
//! a configuration with such a resource is good only if its group accepts that. A table of agents,
//! units and programs tells which resources are exclusive; the setting `exclusive` beats the table.

use std::path::Path;

use super::types::{Exec, Ocf, ResourceKind};

/// The harm that two nodes do which run the same resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    FileSystem,
    Disk,
    Export,
    Database,
    Machine,
    /// A harm that the configuration states and the table does not know.
    Stated,
}

impl Harm {
    const fn words(self) -> &'static str {
        match self {
            Self::FileSystem => "a file system that two nodes have mounted is destroyed",
            Self::Disk => "a disk or volume that two nodes write to is destroyed",
            Self::Export => "two nodes that export the same storage destroy what is on it",
            Self::Database => {
                "two servers on the same files destroy them, and two on files of their own each \
                 take writes that the other never gets"
            }
            Self::Machine => "two copies of one machine destroy its disks",
            Self::Stated => "the configuration says that it is exclusive",
        }
    }

    /// The operator's way out, for the group with this quoted name.
    pub fn remedy(self, group: &str) -> String {
        let unless = match self {
            Self::Stated => "",
            _ => "; write exclusive = false in the resource if two at a time do no harm",
        };
        format!(
            "leave it to a cluster manager that fences nodes, which this one does not yet; or, if \
             its storage lets one node in at a time or the harm is accepted, write \
             accept_double_run = true in group {group}{unless}"
        )
    }
}

/// The danger of exclusive resources that do such `harms`, as a whole sentence about `subject`.
pub fn danger(subject: &str, harms: &[Harm]) -> String {
    let mut words: Vec<&str> = harms.iter().map(|harm| harm.words()).collect();
    words.dedup();
    format!(
        "{subject} must never run on two nodes at a time, and nothing here keeps it from that: \
         another node starts it as soon as the lease has ended, and a node that was cut off goes \
         on with it until its stop is done (up to stop_timeout), or for ever if its agent is dead \
         or the stop fails; {}",
        words.join(", ")
    )
}

/// The harm of a resource, by the table. `None` if the table does not know the resource.
pub fn by_table(kind: &ResourceKind) -> Option<Harm> {
    match kind {
        // The guard keeps an address on one node.
        ResourceKind::Vip(_) => None,
        ResourceKind::Ocf(ocf) => of_agent(ocf),
        ResourceKind::Systemd(unit) => of_unit(unit),
        ResourceKind::Exec(Exec::Service { run: command, .. })
        | ResourceKind::Exec(Exec::Commands { start: command, .. }) => of_command(command),
    }
}

type Names = &'static [(Harm, &'static [&'static str])];

/// Names of agents, units and programs alike, in lower case.
const NAMES: Names = &[
    (
        Harm::Disk,
        &[
            "drbd",
            "drbdadm",
            "lvm",
            "lvm-activate",
            "mdraid",
            "raid1",
            "zfs",
            "zpool",
        ],
    ),
    (
        Harm::Export,
        &["exportfs", "nfs-ganesha", "nfsserver", "scst"],
    ),
    (
        Harm::Database,
        &[
            "couchdb",
            "db2",
            "firebird",
            "galera",
            "hana",
            "informix",
            "influxdb",
            "mariadb",
            "mongod",
            "mongodb",
            "mssql-server",
            "mysql",
            "mysqld",
            "neo4j",
            "oracle",
            "pgsql",
            "postgres",
            "postgresql",
            "redis",
            "redis-server",
            "saphana",
            "sybase",
            "valkey",
            "valkey-server",
        ],
    ),
];

/// Names of agents of the Open Cluster Framework alone.
const AGENTS: Names = &[
    (Harm::FileSystem, &["filesystem"]),
    (
        Harm::Disk,
        &[
            "aliyun-disk",
            "aws-ebs",
            "clvm",
            "crypt",
            "gcp-pd-move",
            "icp",
            "lvmlockd",
            "manageraid",
            "openstack-cinder-volume",
            "serveraid",
            "vdo-vol",
        ],
    ),
    (
        Harm::Export,
        &[
            "aoetarget",
            "iscsilogicalunit",
            "iscsitarget",
            "nvmet-namespace",
            "nvmet-port",
            "nvmet-subsystem",
        ],
    ),
    (
        Harm::Database,
        &[
            "edir88",
            "fci",
            "ids",
            "pgsqlms",
            "rabbitmq-cluster",
            "sapdatabase",
            "saphanacontroller",
            "sapinstance",
            "sybasease",
        ],
    ),
    (
        Harm::Machine,
        &[
            "lxc",
            "managedomain",
            "manageve",
            "virtualdomain",
            "vmware",
            "xen",
        ],
    ),
];

/// Names of units and programs alone.
const SERVICES: Names = &[
    (Harm::FileSystem, &["mount", "zfs-mount"]),
    (
        Harm::Disk,
        &[
            "cryptsetup",
            "drbd-promote",
            "drbd-reactor",
            "lvchange",
            "lvm2-activation",
            "lvm2-pvscan",
            "mdadm",
            "systemd-cryptsetup",
            "vgchange",
            "zfs-import",
            "zfs-import-cache",
            "zfs-import-scan",
        ],
    ),
    (
        Harm::Export,
        &[
            "ganesha.nfsd",
            "nfs-kernel-server",
            "nfs-server",
            "rpc.nfsd",
            "rtslib-fb-targetctl",
            "target",
            "targetctl",
            "tgt",
            "tgtd",
        ],
    ),
    (
        Harm::Database,
        &[
            "mariadbd",
            "mysqld_safe",
            "oracle-xe",
            "oracledb",
            "pg_ctl",
            "pg_ctlcluster",
            "rabbitmq-server",
            "sqlservr",
        ],
    ),
    (
        Harm::Machine,
        &[
            "libvirt-guests",
            "lxc-start",
            "qemu",
            "qemu-kvm",
            "systemd-nspawn",
            "virsh",
            "xl",
        ],
    ),
];

fn find(name: &str, tables: [Names; 2]) -> Option<Harm> {
    let name = name.to_ascii_lowercase();
    let mut rows = tables.into_iter().flatten();
    let row = rows.find(|(_, names)| names.contains(&&*name));
    row.map(|(harm, _)| *harm)
}

/// The harm of an agent by its name, whoever provides it.
fn of_agent(ocf: &Ocf) -> Option<Harm> {
    let harm = find(&ocf.agent, [NAMES, AGENTS])?;
    let param = |name: &str| {
        let mut params = ocf.params.iter();
        params
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    };
    let shared = || {
        is_shared(
            param("fstype").unwrap_or_default(),
            param("options").unwrap_or_default(),
        )
    };
    (harm != Harm::FileSystem || !shared()).then_some(harm)
}

/// Whether several nodes may mount a file system: one that others serve, that is made for several
/// nodes, that is in memory, or that is mounted already elsewhere on the node.
fn is_shared(fstype: &str, options: &str) -> bool {
    const SHARED: [&str; 28] = [
        "9p",
        "acfs",
        "afs",
        "beegfs",
        "ceph",
        "cephfs",
        "cifs",
        "coda",
        "davfs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.sshfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "moosefs",
        "nfs",
        "nfs3",
        "nfs4",
        "none",
        "ocfs2",
        "pvfs2",
        "smb3",
        "smbfs",
        "sshfs",
        "tmpfs",
        "virtiofs",
    ];
    let fstype = fstype.to_ascii_lowercase();
    let mut options = options.split(',').map(str::trim);
    SHARED.contains(&&*fstype) || options.any(|option| option == "bind" || option == "rbind")
}

/// A unit, with its suffix.
fn of_unit(unit: &str) -> Option<Harm> {
    let (name, suffix) = unit.rsplit_once('.').unwrap_or((unit, ""));
    match suffix {
        // The name does not tell the kind of the file system.
        "mount" | "automount" | "swap" => Some(Harm::FileSystem),
        _ => of_service(name.split('@').next().unwrap_or_default()),
    }
}

/// The name of a service or a program, which may bear a version: `postgresql-15`,
/// `qemu-system-x86_64`.
fn of_service(name: &str) -> Option<Harm> {
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || ['.', '-', '_'].contains(&c));
    let family = name.starts_with("qemu-system-").then_some("qemu");
    [Some(name), Some(bare), family]
        .into_iter()
        .flatten()
        .find_map(|name| find(name, [NAMES, SERVICES]))
}

/// Programs that run another, which is one of their arguments.
const WRAPPERS: [&str; 15] = [
    "chpst",
    "chrt",
    "env",
    "gosu",
    "ionice",
    "ip",
    "nice",
    "numactl",
    "runuser",
    "setpriv",
    "setsid",
    "su-exec",
    "sudo",
    "systemd-run",
    "taskset",
];

fn of_command(command: &[String]) -> Option<Harm> {
    let (program, arguments) = command.split_first()?;
    let named = |path: &str| Some(Path::new(path).file_name()?.to_str()?.to_owned());
    let name = named(program)?;
    let harm = if WRAPPERS.contains(&&*name) {
        let programs = arguments
            .iter()
            .filter(|argument| argument.starts_with('/'));
        programs
            .filter_map(|path| of_service(&named(path)?))
            .next()?
    } else {
        of_service(&name)?
    };
    (harm != Harm::FileSystem || !mounts_shared(arguments)).then_some(harm)
}

/// Whether the arguments of `mount` are those of a file system that several nodes may mount.
fn mounts_shared(arguments: &[String]) -> bool {
    let behind = |flags: [&str; 2]| {
        let mut pairs = arguments.windows(2);
        let value = pairs.find(|pair| flags.contains(&&*pair[0]));
        value.map_or("", |pair| pair[1].as_str())
    };
    let binds = ["--bind", "-B", "--rbind", "-R", "--move", "-M"];
    arguments
        .iter()
        .any(|argument| binds.contains(&&**argument))
        || is_shared(behind(["-t", "--types"]), behind(["-o", "--options"]))
}

#[cfg(test)]
mod tests {
    use heartbeat_core::index::VipIndex;

    use super::*;

    fn agent(agent: &str, params: &[(&str, &str)]) -> Option<Harm> {
        let params = params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        by_table(&ResourceKind::Ocf(Ocf {
            provider: "any".to_owned(),
            agent: agent.to_owned(),
            params: params.collect(),
            check_level: 0,
        }))
    }

    fn unit(name: &str) -> Option<Harm> {
        by_table(&ResourceKind::Systemd(name.to_owned()))
    }

    fn program(words: &str) -> Option<Harm> {
        let command: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let run = Exec::Service {
            run: command.clone(),
            check: None,
        };
        let commands = Exec::Commands {
            start: command,
            stop: Vec::new(),
            check: Vec::new(),
        };
        let [one, other] = [run, commands].map(|exec| by_table(&ResourceKind::Exec(exec)));
        assert_eq!(one, other);
        one
    }

    #[test]
    fn agent_of_exclusive_storage_is_exclusive_whoever_provides_it() {
        for name in [
            "LVM",
            "LVM-activate",
            "clvm",
            "drbd",
            "DRBD",
            "ZFS",
            "Raid1",
            "mdraid",
            "ManageRAID",
        ] {
            assert_eq!(agent(name, &[]), Some(Harm::Disk), "{name}");
        }
        for name in [
            "iSCSITarget",
            "iSCSILogicalUnit",
            "exportfs",
            "nfsserver",
            "nvmet-port",
        ] {
            assert_eq!(agent(name, &[]), Some(Harm::Export), "{name}");
        }
        for name in [
            "mysql",
            "pgsql",
            "pgsqlms",
            "mariadb",
            "oracle",
            "db2",
            "SAPHana",
            "SAPDatabase",
            "sybaseASE",
            "redis",
            "galera",
        ] {
            assert_eq!(agent(name, &[]), Some(Harm::Database), "{name}");
        }
        for name in ["VirtualDomain", "virtualdomain", "Xen", "lxc"] {
            assert_eq!(agent(name, &[]), Some(Harm::Machine), "{name}");
        }
    }

    #[test]
    fn agent_of_something_else_is_not_exclusive() {
        for name in [
            "apache",
            "nginx",
            "haproxy",
            "IPaddr2",
            "IPsrcaddr",
            "Dummy",
            "Delay",
            "MailTo",
            "named",
            "squid",
            "oralsnr",
            "mysql-proxy",
            "tomcat",
            "docker",
            "podman",
            "iscsi",
            "LVMs",
            "",
        ] {
            assert_eq!(agent(name, &[]), None, "{name}");
        }
    }

    #[test]
    fn file_system_is_exclusive_unless_several_nodes_may_mount_it() {
        let mounted = |fstype: &str, options: &str| {
            agent("Filesystem", &[("fstype", fstype), ("options", options)])
        };
        for fstype in ["ext4", "xfs", "btrfs", "", "EXT4", "vfat", "nfsd"] {
            assert_eq!(
                mounted(fstype, "noatime,_netdev"),
                Some(Harm::FileSystem),
                "{fstype}"
            );
        }
        assert_eq!(agent("filesystem", &[]), Some(Harm::FileSystem));
        for fstype in [
            "nfs",
            "nfs4",
            "NFS",
            "cifs",
            "glusterfs",
            "ceph",
            "gfs2",
            "ocfs2",
            "none",
            "tmpfs",
        ] {
            assert_eq!(mounted(fstype, ""), None, "{fstype}");
        }
        assert_eq!(mounted("ext4", "ro, bind"), None);
        assert_eq!(mounted("ext4", "rbind"), None);
        assert_eq!(mounted("ext4", "nobind"), Some(Harm::FileSystem));
        // Of no other agent.
        assert_eq!(agent("LVM", &[("fstype", "nfs")]), Some(Harm::Disk));
    }

    #[test]
    fn unit_is_exclusive_by_its_name_without_instance_and_version() {
        for name in [
            "postgresql.service",
            "postgresql@15-main.service",
            "postgresql-15.service",
            "mysql.service",
            "mysqld@2.service",
            "mariadb.service",
            "mariadb@a.service",
            "mongod.service",
            "db2.service",
            "redis-server.service",
            "PostgreSQL.service",
            "oracle.service",
        ] {
            assert_eq!(unit(name), Some(Harm::Database), "{name}");
        }
        for name in [
            "nfs-server.service",
            "nfs-kernel-server.service",
            "nfsserver.service",
            "target.service",
        ] {
            assert_eq!(unit(name), Some(Harm::Export), "{name}");
        }
        assert_eq!(unit("drbd.service"), Some(Harm::Disk));
        assert_eq!(unit("drbd-promote@r0.service"), Some(Harm::Disk));
        assert_eq!(unit("srv-data.mount"), Some(Harm::FileSystem));
        for name in [
            "nginx.service",
            "haproxy@mysql.service",
            "mysql-exporter.service",
            "network.target",
            "db.service",
            "backup.timer",
        ] {
            assert_eq!(unit(name), None, "{name}");
        }
    }

    #[test]
    fn program_is_exclusive_also_behind_a_wrapper() {
        assert_eq!(
            program("/usr/lib/postgresql/15/bin/postgres -D /data"),
            Some(Harm::Database)
        );
        assert_eq!(program("/usr/sbin/mysqld"), Some(Harm::Database));
        assert_eq!(
            program("/usr/bin/qemu-system-x86_64 -m 1G"),
            Some(Harm::Machine)
        );
        assert_eq!(program("/sbin/vgchange -ay vg0"), Some(Harm::Disk));
        let wrapped = "/usr/sbin/runuser -u postgres -- /usr/lib/postgresql/15/bin/postgres";
        assert_eq!(program(wrapped), Some(Harm::Database));
        assert_eq!(program("/usr/bin/env /usr/local/bin/worker"), None);
        assert_eq!(program("/usr/local/bin/worker /usr/sbin/mysqld"), None);
        assert_eq!(program("/bin/mount /dev/sdb1 /srv"), Some(Harm::FileSystem));
        assert_eq!(
            program("/bin/mount -t ext4 /dev/sdb1 /srv"),
            Some(Harm::FileSystem)
        );
        assert_eq!(program("/bin/mount -t nfs server:/x /srv"), None);
        assert_eq!(program("/bin/mount --bind /x /srv"), None);
        assert_eq!(program("/bin/mount -o bind /x /srv"), None);
        assert_eq!(by_table(&ResourceKind::Vip(VipIndex(0))), None);
    }
}
