//! docs/start/article.md, played: what the page says is done, and what it shows is seen.

use std::{io::Write as _, time::Duration};

use anyhow::{Result, ensure};
use heartbeat_tests::{
    needs,
    page::{self, Runner},
};

const PAGE: &str = include_str!("../../../docs/start/article.md");
/// The most that the page may be away when its server is cut off: an upper bound for busy machines.
const MOST: Duration = Duration::from_secs(10);

#[test]
fn article_is_served_by_the_other_node_when_its_server_is_cut_off() -> Result<()> {
    needs!(Cluster, Apache);
    let steps = page::parse(PAGE)?;
    let mut runner = Runner::new(false)?;
    let measured = runner.play(&steps, |told| {
        if std::env::var_os("ARTICLE_SHOW").is_some() {
            let _ = writeln!(std::io::stderr(), "{told:#?}");
        }
    })?;
    ensure!(measured.len() == 1, "{measured:#?}");
    let cut = &measured[0];
    let _ = writeln!(std::io::stderr(), "the page was away for {:.1?}", cut.gap);
    ensure!(cut.served_by == ["node1", "node2"], "{cut:?}");
    ensure!(cut.gap <= MOST, "{cut:?}");
    Ok(())
}
