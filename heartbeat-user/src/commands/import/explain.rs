//! `heartbeat import --explain`: the translation of each statement, as a table or as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::import::{Place, Row};

const HEADS: [&str; 4] = ["STATEMENT", "LINE", "BECAME", "WHY"];
/// Spaces between two columns.
const GAP: usize = 2;
/// Least width of a column, even on a narrow terminal.
const NARROWEST: usize = 12;
/// Percentages of the width that the first three columns may take; the last column has the longest
/// text.
const SHARES: [usize; 3] = [26, 18, 24];

/// Formats the rows as one JSON array of objects.
pub(super) fn json(rows: &[Row]) -> String {
    let row = |row: &Row| {
        let places = row.places.iter();
        let places: Vec<Value> = places
            .map(|place| json!({ "file": &*place.file, "line": place.line }))
            .collect();
        json!({
            "statement": row.statement,
            "places": places,
            "became": row.became,
            "why": row.why,
        })
    };
    let rows: Vec<Value> = rows.iter().map(row).collect();
    Value::Array(rows).to_string() + "\n"
}

/// Formats the rows in aligned columns, within `width` unless a word is too long.
pub(super) fn table(rows: &[Row], width: usize) -> String {
    let mut cells: Vec<[String; 4]> = vec![HEADS.map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        [&row.statement, &lines(&row.places), &row.became, &row.why].map(|text| printable(text))
    }));
    let widths = widths(&cells, width);
    let mut text = String::new();
    for row in &cells {
        let columns: Vec<Vec<String>> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| wrapped(cell, width))
            .collect();
        let height = columns.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..height {
            let mut whole = String::new();
            for (column, width) in columns.iter().zip(widths) {
                let cell = column.get(line).map_or("", String::as_str);
                // Writing to a String cannot fail.
                let _ = write!(whole, "{cell:<width$}{:GAP$}", "");
            }
            text.push_str(whole.trim_end());
            text.push('\n');
        }
    }
    text
}

/// Formats the places: `corosync.conf:3`, `crm:4, 5`, without directories.
fn lines(places: &[Place]) -> String {
    let mut text = String::new();
    let mut last: Option<&Place> = None;
    for place in places {
        let file = place.file.rsplit('/').next().unwrap_or_default();
        let _ = match last {
            Some(before) if (&before.file, before.line) == (&place.file, place.line) => Ok(()),
            Some(before) if before.file == place.file => write!(text, ", {}", place.line),
            Some(_) => write!(text, ", {file}:{}", place.line),
            None => write!(text, "{file}:{}", place.line),
        };
        last = Some(place);
    }
    text
}

/// Returns `text` on one line, without terminal control characters.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(shown).collect()
}

fn widths(cells: &[[String; 4]], width: usize) -> [usize; 4] {
    let mut widths = [0; 4];
    for (column, widest) in widths.iter_mut().enumerate() {
        let all = cells.iter().map(|row| row[column].chars().count());
        *widest = all.max().unwrap_or(0);
    }
    for (widest, share) in widths.iter_mut().zip(SHARES) {
        *widest = (*widest).min((width * share / 100).max(NARROWEST));
    }
    let taken = widths[..3].iter().map(|width| width + GAP).sum::<usize>();
    widths[3] = width.saturating_sub(taken).max(NARROWEST);
    widths
}

/// Splits `text` into lines of at most `width`, between words; a longer word is cut.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let mut rest: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + rest.len() > width {
            lines.push(String::new());
            used = 0;
        }
        while let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            let piece: Vec<char> = rest.drain(..rest.len().min(width)).collect();
            used += piece.len();
            line.extend(piece);
            if rest.is_empty() {
                break;
            }
            lines.push(String::new());
            used = 0;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{Input, Inputs, Options, import};

    fn rows() -> Vec<Row> {
        let text = "primitive ip IPaddr2 params ip=192.0.2.1 cidr_netmask=24\n\
                    primitive web apache \\\n  op monitor interval=10s zeal=1\n\
                    colocation ip_with_web INFINITY\norder ip_before_web Mandatory\n\
                    tag t: ip web\n";
        let inputs = Inputs {
            corosync: None,
            resources: Some(Input {
                name: "dir/cluster.crm".to_owned(),
                text: text.to_owned(),
            }),
        };
        import(&inputs, &Options::default()).unwrap().rows
    }

    fn row<'r>(rows: &'r [Row], statement: &str) -> &'r Row {
        let mut rows = rows.iter();
        rows.find(|row| row.statement == statement).unwrap()
    }

    #[test]
    fn each_statement_has_a_row_with_its_translation() {
        let rows = rows();
        let ip = row(&rows, "primitive ip");
        assert_eq!(ip.became, "[[group.resource]] ip");
        assert!(ip.why.starts_with("a built-in vip"), "{}", ip.why);
        assert_eq!(row(&rows, "tag t").became, "not translated");
        let guess = rows
            .iter()
            .find(|row| row.became == "[[group]] web, guessed");
        assert_eq!(guess.unwrap().statement, "colocation ip_with_web");
        let lines: Vec<usize> = rows.iter().map(|row| row.places[0].line).collect();
        assert!(lines.is_sorted(), "{lines:?}");
        let strange = rows.iter().find(|row| row.statement.contains("zeal=1"));
        assert_eq!(strange.unwrap().became, "not translated");
    }

    #[test]
    fn table_is_aligned_within_the_width() {
        let rows = rows();
        for width in [80, 120, 200] {
            let text = table(&rows, width);
            let longest = text.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(width), "{width}: {longest:?}\n{text}");
            let head = text.lines().next().unwrap();
            let line = text
                .lines()
                .find(|line| line.starts_with("primitive ip"))
                .unwrap();
            assert_eq!(head.find("LINE"), line.find("cluster.crm:1"), "{text}");
        }
        assert!(
            table(&rows, 200).contains("  cluster.crm:2  "),
            "{}",
            table(&rows, 200)
        );
    }

    #[test]
    fn rows_are_json_objects_with_their_places() {
        let rows = rows();
        let parsed: Value = serde_json::from_str(&json(&rows)).unwrap();
        let parsed = parsed.as_array().unwrap();
        assert_eq!(parsed.len(), rows.len());
        let of = |statement: &str| {
            parsed
                .iter()
                .find(|row| row["statement"] == statement)
                .unwrap()
        };
        assert_eq!(of("tag t")["became"], "not translated");
        assert_eq!(of("tag t")["places"][0]["line"], 6);
        assert_eq!(of("tag t")["places"][0]["file"], "dir/cluster.crm");
    }

    #[test]
    fn long_word_is_cut_at_the_column_width() {
        assert_eq!(wrapped("a bbbbbbb cc", 3), ["a", "bbb", "bbb", "b", "cc"]);
        assert_eq!(wrapped("", 3), [""]);
    }
}
