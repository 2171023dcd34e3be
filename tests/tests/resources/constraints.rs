//! Constraints: groups that move together, keep apart, and wait for each other.

use std::time::Duration;

use anyhow::{Result, ensure};
use heartbeat_tests::{
    Fault, Options,
    e2e::{
        Actors, MILLISECOND,
        actors::{actor, group},
        groups::{
            output_of, result_of, wait_all_active, wait_group, wait_runs, wait_stopped, with_groups,
        },
    },
    needs,
    wait::observe,
};

const QUICK: Duration = Duration::from_millis(500);
/// The time for which nothing must happen where nothing should.
const WHILE: Duration = Duration::from_millis(500);

/// Groups `db` and `web`, of one actor each, with the constraints `between`.
fn two(settings: &str, between: &str) -> String {
    let one =
        |name: &str, settings| group(name, settings, &[actor(&format!("{name}1"), QUICK, "")]);
    one("db", settings) + &one("web", settings) + between
}

const BOTH: [&str; 2] = ["db1", "web1"];

#[test]
fn colocated_group_moves_along_and_stops_first() -> Result<()> {
    needs!(Cluster);
    let between = "\n[[colocation]]\ngroup = \"web\"\nwith = \"db\"\n\
                   \n[[order]]\nfirst = \"db\"\nthen = \"web\"\n";
    let actors = Actors::new()?;
    with_groups(
        &actors,
        actors.options(two("", between)),
        &["db", "web"],
        |cluster| {
            actors.wait_actions(0, &BOTH, &["a db1 start", "a web1 start"])?;
            let mark = actors.mark()?;
            output_of(cluster, "b", &["move", "db", "b"])?;
            wait_runs(cluster, "web", "b")?;
            actors.wait_actions(
                mark,
                &BOTH,
                &["a web1 stop", "a db1 stop", "b db1 start", "b web1 start"],
            )?;
            let mark = actors.mark()?;
            output_of(cluster, "a", &["standby", "b"])?;
            wait_runs(cluster, "web", "a")?;
            actors.wait_actions(
                mark,
                &BOTH,
                &["b web1 stop", "b db1 stop", "a db1 start", "a web1 start"],
            )?;
            output_of(cluster, "a", &["online", "b"])?;
            wait_all_active(cluster)?;
            let mark = actors.mark()?;
            for asked in ["a", "b"] {
                result_of(cluster, asked, &["move", "web", "b"])?
                    .refusal(&["web follows db, which is not on b: move that"])?;
            }
            ensure!(
                actors.actions(mark, &BOTH)?.is_empty(),
                "it moved all the same"
            );
            actors.never_twice(true)
        },
    )
}

#[test]
fn group_kept_apart_stays_down_on_the_last_node() -> Result<()> {
    needs!(Cluster);
    let between = "\n[[colocation]]\ngroup = \"web\"\nwith = \"db\"\nscore = \"-inf\"\n";
    let actors = Actors::new()?;
    with_groups(
        &actors,
        actors.options(two("", between)),
        &["db"],
        |cluster| {
            wait_runs(cluster, "web", "b")?;
            // When a fails, db needs node b, and web leaves it before db starts.
            let mark = actors.mark()?;
            ensure!(cluster.node_mut("a")?.stop()?, "the agent of a failed");
            wait_runs(cluster, "db", "b")?;
            wait_stopped(cluster, "web")?;
            actors.wait_actions(mark, &BOTH, &["a db1 stop", "b web1 stop", "b db1 start"])?;
            observe(WHILE, || {
                ensure!(!actors.runs("b", "web1"), "both run on b");
                Ok(())
            })?;
            let mark = actors.mark()?;
            cluster.heal("a", Fault::Kill)?;
            wait_runs(cluster, "web", "a")?;
            wait_all_active(cluster)?;
            observe(WHILE, || {
                ensure!(actors.runs("a", "web1"), "db pushed web out to be at home");
                Ok(())
            })?;
            actors.wait_actions(mark, &BOTH, &["a web1 start"])?;
            result_of(cluster, "b", &["move", "web", "b"])?
                .refusal(&["web keeps apart from db, which is on b"])?;
            result_of(cluster, "b", &["move", "db", "a"])?
                .refusal(&["web keeps apart from db and is on a: move that first"])?;
            actors.never_twice(true)
        },
    )
}

#[test]
fn order_holds_across_nodes() -> Result<()> {
    needs!(Cluster);
    let between = "\n[[order]]\nfirst = \"db\"\nthen = \"web\"\n\
                   \n[[location]]\ngroup = \"web\"\nnode = \"a\"\nscore = \"-inf\"\n";
    let actors = Actors::new()?;
    actors.script("a", "db1", "start", "sleep 0.3")?;
    with_groups(
        &actors,
        actors.options(two("", between)),
        &["db"],
        |cluster| {
            wait_runs(cluster, "web", "b")?;
            actors.wait_actions(0, &BOTH, &["a db1 start", "b web1 start"])?;
            // The constraint keeps web off a, also for an operator.
            result_of(cluster, "a", &["move", "web", "a"])?
                .refusal(&["a [[location]] bans web from node a"])?;

            let mark = actors.mark()?;
            output_of(cluster, "b", &["resource", "stop", "db"])?;
            wait_stopped(cluster, "db")?;
            wait_stopped(cluster, "web")?;
            observe(WHILE, || {
                ensure!(!actors.runs("b", "web1"), "web runs without db");
                Ok(())
            })?;
            output_of(cluster, "a", &["resource", "start", "db"])?;
            wait_runs(cluster, "db", "a")?;
            wait_runs(cluster, "web", "b")?;
            let actions = actors.actions(mark, &["web1"])?;
            ensure!(actions == ["b web1 stop", "b web1 start"], "{actions:?}");
            let calls = actors.calls()?;
            let of = |resource: &str| {
                let mut starts = calls[mark..].iter();
                starts.rfind(|call| call.resource == resource && call.action == "start")
            };
            let (db, web) = (of("db1").and_then(|call| call.end), of("web1"));
            let after = matches!((db, web), (Some((db, 0)), Some(web)) if db < web.began);
            ensure!(after, "web started before db had");
            actors.never_twice(true)
        },
    )
}

#[test]
fn scores_place_groups_and_stickiness_keeps_them() -> Result<()> {
    needs!(Cluster);
    let between = "\n[[location]]\ngroup = \"db\"\nnode = \"b\"\nscore = 50\n\
                   \n[[location]]\ngroup = \"web\"\nnode = \"b\"\nscore = 200\n";
    let actors = Actors::new()?;
    let options = Options {
        interval: 5 * MILLISECOND,
        ..actors.options(two("stickiness = 100", between))
    };
    with_groups(&actors, options, &[], |cluster| {
        // The score of b does not exceed the stickiness for db, but it does for web.
        wait_runs(cluster, "db", "a")?;
        wait_runs(cluster, "web", "b")?;
        observe(WHILE, || {
            ensure!(
                actors.runs("a", "db1") && !actors.runs("b", "db1"),
                "db did not stay"
            );
            Ok(())
        })?;
        let table = output_of(cluster, "a", &["simulate", "--fail", "b"])?;
        ensure!(
            table.contains("* db: stays on a") && table.contains("* web: b -> a"),
            "{table}"
        );
        ensure!(cluster.node_mut("b")?.stop()?, "the agent of b failed");
        wait_runs(cluster, "web", "a")?;
        wait_group(cluster, "db", "stays", |group| {
            group.owner.as_deref() == Some("a")
        })?;
        actors.never_twice(true)
    })
}
