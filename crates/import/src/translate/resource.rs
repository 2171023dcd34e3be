//! One resource: its type, parameters and failures. The operations are in `operations`.

use super::{
    defaults::{Defaults, or_never},
    meta::{Meta, asides},
    operations,
    remarks::{NO_FENCING, left_over, renamed},
    vip,
};
use crate::{
    emit::{Block, Comment, Remark, Value},
    input::Options,
    model::{Agent, Attrs, Primitive},
    values,
};

/// The type of the translated resource.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The full name of the type.
    Ocf(String),
    /// The unit, and a comment on it.
    Systemd(String, Option<&'static str>),
    /// An init script with this path.
    Script(String),
}

/// Pacemaker's agents that communicate with its daemons.
const PACEMAKERS_OWN: [&str; 12] = [
    "ping",
    "pingd",
    "attribute",
    "ifspeed",
    "ClusterMon",
    "SysInfo",
    "HealthCPU",
    "HealthIOWait",
    "HealthSMART",
    "controld",
    "o2cb",
    "remote",
];

/// The type for `primitive`, or the reason why there is none, and the remedy.
pub(super) fn kind(primitive: &Primitive) -> Result<Kind, (String, &'static str)> {
    let Some(Agent {
        class,
        provider,
        kind,
    }) = &primitive.agent
    else {
        let template = primitive.template.as_deref().unwrap_or_default();
        return Err((
            format!("the input lacks its template {template}"),
            "give the input as a whole, as `crm configure show` prints it",
        ));
    };
    let suffixed = || {
        const SUFFIXES: [&str; 7] = [
            ".service",
            ".socket",
            ".mount",
            ".automount",
            ".timer",
            ".path",
            ".target",
        ];
        if SUFFIXES.iter().any(|suffix| kind.ends_with(suffix)) {
            kind.clone()
        } else {
            format!("{kind}.service")
        }
    };
    match class.as_str() {
        "ocf" => match provider.as_deref().unwrap_or("heartbeat") {
            "pacemaker" if PACEMAKERS_OWN.contains(&kind.as_str()) => Err((
                "the agent is a part of Pacemaker and needs Pacemaker's daemons".to_owned(),
                "move the check into the monitor of the resource that needs it",
            )),
            provider if values::is_agent(provider) && values::is_agent(kind) => {
                Ok(Kind::Ocf(format!("ocf:{provider}:{kind}")))
            }
            provider => Err((
                format!("`heartbeat check` rejects the name ocf:{provider}:{kind}"),
                "give the agent a name of letters, digits, `_`, `.` and `-`",
            )),
        },
        "lsb" if values::is_path(kind) => Ok(Kind::Script(kind.clone())),
        "systemd" | "service" | "lsb" if !values::is_unit(&suffixed()) => Err((
            format!("\"{kind}\" is not the name of a systemd unit"),
            "write a systemd unit for it, or use commands with the type exec",
        )),
        "systemd" => Ok(Kind::Systemd(suffixed(), None)),
        "service" => Ok(Kind::Systemd(
            suffixed(),
            Some(
                "Pacemaker prefers a systemd unit for the class \"service\", and the import \
                 assumes one",
            ),
        )),
        // As a command it would fail: its `status` exits with 3 when it is stopped, not with 7.
        "lsb" => Ok(Kind::Systemd(
            suffixed(),
            Some(
                "systemd runs an init script through a generated unit; check with `systemctl \
                 status` that yours exists, or write a unit",
            ),
        )),
        "stonith" => {
            let (reason, remedy) = NO_FENCING;
            Err((reason.to_owned(), remedy))
        }
        class => Err((
            format!("heartbeat has no resources of the class \"{class}\""),
            "write a systemd unit or an OCF agent, or use commands with the type exec",
        )),
    }
}

/// `webip (ocf:heartbeat:IPaddr2)`.
pub(super) fn title(primitive: &Primitive) -> String {
    match (&primitive.agent, &primitive.template) {
        (Some(agent), _) => {
            let provider = agent.provider.iter().map(|provider| format!("{provider}:"));
            let provider: String = provider.collect();
            format!(
                "{} ({}:{provider}{})",
                primitive.id, agent.class, agent.kind
            )
        }
        (None, Some(template)) => format!("{} (@{template})", primitive.id),
        (None, None) => primitive.id.clone(),
    }
}

/// `[[group.resource]]`.
pub(super) fn block(
    primitive: &Primitive,
    meta: Meta,
    defaults: &Defaults,
    options: &Options,
) -> Block {
    let mut block = Block::new("[[group.resource]]");
    let owner = format!("resource {}", primitive.id);
    block.comments.push(Comment::note(
        format!("primitive {} ({})", title(primitive), primitive.place),
        &primitive.place,
    ));
    let mut params = primitive.settings.params.clone();
    if let Some(text) = params.take("description") {
        block.comments.push(Comment::note(text.value, &text.place));
    }
    let (name, changed) = renamed(&primitive.id);
    if !changed.is_empty() {
        block.comments.push(Comment::general(changed));
    }
    block.field("name", Value::Text(name));
    let is_ocf = match kind(primitive) {
        Ok(Kind::Ocf(of)) => {
            agent(primitive, &of, params, options, &mut block);
            block
                .fields
                .iter()
                .any(|(_, value)| *value == Value::Text(of.clone()))
        }
        Ok(Kind::Systemd(unit, note)) => {
            block.comments.extend(note.map(Comment::general));
            block
                .comments
                .extend(left_over("parameter", &owner, params));
            block.field("type", Value::Text(format!("systemd:{unit}")));
            false
        }
        Ok(Kind::Script(path)) => {
            script(&path, &mut block);
            block
                .comments
                .extend(left_over("parameter", &owner, params));
            false
        }
        // The plan has no such resources.
        Err(_) => false,
    };
    operations::translate(primitive, is_ocf, defaults, &mut block);
    block.comments.extend(meta.comments);
    block.comments.extend(asides(&owner, &primitive.settings));
    if let Some(threshold) = meta.threshold {
        block.field("migration_threshold", Value::Number(threshold.into()));
    }
    if let Some(timeout) = meta.failure_timeout {
        block.field("failure_timeout", or_never(timeout));
    }
    block
}

/// The fields for the init script at `path`. Its status exits with 3 when stopped, and `check` must
/// exit with 7.
fn script(path: &str, block: &mut Block) {
    block.comments.push(Comment::general(
        "systemd generates no unit for an init script outside of /etc/init.d, so an exec resource \
         runs its actions; a systemd unit would be better",
    ));
    let words = |words: &[&str]| Value::List(words.iter().map(|word| (*word).to_owned()).collect());
    block.field("type", Value::from("exec"));
    block.field("start", words(&[path, "start"]));
    block.field("stop", words(&[path, "stop"]));
    let status = "\"$0\" status; status=$?; test $status -eq 3 && exit 7; exit $status";
    block.field("check", words(&["/bin/sh", "-c", status, path]));
}

/// The fields of an OCF agent of the type `of`, or of the `vip` that replaces it.
fn agent(primitive: &Primitive, of: &str, params: Attrs, options: &Options, block: &mut Block) {
    if primitive.agent.as_ref().is_some_and(vip::is_address) {
        if options.keep_agents {
            block.comments.push(Comment::general(
                "the kernel does not guard an agent's address; without `--keep-agents` this \
                 resource becomes a built-in vip, which serves only with the lease",
            ));
        } else {
            match vip::fields(&primitive.id, &params) {
                Ok(vip) => {
                    block.comments.push(Comment::general(
                        "a built-in vip: the kernel drops the traffic of its address while the \
                         lease is not held",
                    ));
                    block.comments.extend(vip.comments);
                    block.fields.extend(vip.fields);
                    return;
                }
                Err(why) => block.comments.push(
                    Remark::new(
                        &primitive.place,
                        format!("{} as a built-in vip", primitive.id),
                        format!(
                            "{why}, so this resource stays an agent, whose address the kernel does \
                             not guard"
                        ),
                        "if the parameter is dispensable, write type = \"vip\", address and \
                         interface",
                    )
                    .into(),
                ),
            }
        }
    }
    block.field("type", Value::from(of));
    let mut pairs: Vec<(String, String)> = Vec::new();
    for attr in params.0 {
        if !values::is_parameter(&attr.name) || attr.value.contains('\0') {
            block.comments.push(
                Remark::new(
                    &attr.place,
                    format!("parameter {}={} of {}", attr.name, attr.value, primitive.id),
                    "agents receive parameters in environment variables, which cannot hold this \
                     one",
                    "correct it",
                )
                .into(),
            );
        } else if pairs.iter().any(|(name, _)| *name == attr.name) {
            block.comments.push(
                Remark::new(
                    &attr.place,
                    format!("parameter {}={} of {}", attr.name, attr.value, primitive.id),
                    "the parameter is set twice, and the first value applies",
                    "choose one",
                )
                .into(),
            );
        } else {
            pairs.push((attr.name, attr.value));
        }
    }
    if !pairs.is_empty() {
        block.field("params", Value::Table(pairs));
    }
}
