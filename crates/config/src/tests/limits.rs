//! The limits of a configuration: nodes, links, groups, addresses, and the length of a path.

use std::path::Path;

use super::{super::Config, GOOD, complaint, parse};

#[test]
fn sizes_have_limits() {
    let many = |nodes: usize| {
        let mut text = "[cluster]\nname = \"w\"\n[[link]]\ninterface = \"eth1\"\n".to_owned();
        for n in 1..=nodes {
            text += &format!(
                "[[node]]\nname = \"n{n}\"\nid = {n}\naddresses = [\"10.0.{}.{}\"]\n",
                n / 250,
                n % 250 + 1
            );
        }
        Config::parse(&text, Path::new("hb.toml"), Some("n1"), "")
    };
    assert_eq!(many(1_025).unwrap().peers().count(), 1_024);
    let said = many(1_026).unwrap_err().to_string();
    assert!(
        said.contains("hb.toml:5:1: there are 1026 nodes, but no more than 1025 work"),
        "{said}"
    );

    let links = |count: usize| -> String {
        let link = |n| format!("[[link]]\ninterface = \"e{n}\"\n");
        (0..count).map(link).collect()
    };
    let addresses = |host: usize| -> String {
        let all: Vec<_> = (0..8)
            .map(|link| format!("\"10.0.{link}.{host}\""))
            .collect();
        format!("addresses = [{}]", all.join(", "))
    };
    let eight = GOOD
        .replace("[[link]]\ninterface = \"eth1\"\n", &links(8))
        .replace("addresses = [\"10.0.0.1\"]", &addresses(1))
        .replace("addresses = [\"10.0.0.2\"]", &addresses(2))
        .replace("addresses = [\"10.0.0.3\"]", &addresses(3));
    assert_eq!(parse(&eight).unwrap().local_links().count(), 8);
    let said = complaint(&GOOD.replace("[[link]]\ninterface = \"eth1\"\n", &links(300)));
    assert!(
        said.contains("hb.toml:19:1: link 8: there are 300 links, but no more than 8 work"),
        "{said}"
    );

    let vips = |count: usize| -> String {
        let vip = |n| format!("[[vip]]\nname = \"v{n}\"\naddress = \"10.0.1.{n}/24\"\n");
        format!("{GOOD}{}", (1..=count).map(vip).collect::<String>())
    };
    assert_eq!(parse(&vips(63)).unwrap().vips.len(), 64);
    let said = complaint(&vips(65));
    assert_eq!(
        said,
        "hb.toml:213:1: vip \"v64\": there are 66 groups, each [[vip]] being one, but no more than \
         64 can be served\n  remove this and those that follow, join \
         some, or serve them from another cluster"
    );

    let run = format!("[paths]\nrun = \"/{}\"\n", "r".repeat(93));
    assert!(parse(&format!("{GOOD}{run}")).is_ok());
    let said = complaint(&format!("{GOOD}{}", run.replace("rr\"", "rrr\"")));
    assert!(
        said.contains("hb.toml:25:7: [paths]: run makes the control socket's path 108 bytes"),
        "{said}"
    );
}

#[test]
fn groups_and_addresses_have_limits() {
    let vips = |group: usize, count: usize| -> String {
        let vip = |n: usize| {
            format!(
                "[[group.resource]]\nname = \"r{group}-{n}\"\ntype = \"vip\"\n\
                 address = \"10.1.{group}.{n}/16\"\n"
            )
        };
        format!("[[group]]\nname = \"g{group}\"\n") + &(1..=count).map(vip).collect::<String>()
    };
    // The VIP of the file is one more of each.
    let groups =
        |count: usize| GOOD.to_owned() + &(1..=count).map(|n| vips(n, 1)).collect::<String>();
    assert_eq!(parse(&groups(63)).unwrap().groups.len(), 64);
    let said = complaint(&groups(64));
    assert!(
        said.contains("group \"g64\": there are 65 groups, each [[vip]] being one"),
        "{said}"
    );

    assert_eq!(
        parse(&format!("{GOOD}{}", vips(1, 200) + &vips(2, 55)))
            .unwrap()
            .vips
            .len(),
        256
    );
    let said = complaint(&format!("{GOOD}{}", vips(1, 200) + &vips(2, 57)));
    assert!(
        said.contains("resource \"r2-56\": this is one more than the 256 addresses"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 2, "{said}");
}
