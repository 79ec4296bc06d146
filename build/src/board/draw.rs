//! Draws a board's memory and flash maps: for the terminal as tables, for documents as SVG.

use std::fmt::Write;

use toml::Spanned;

use crate::board::Board;
use crate::board::layout::{Extent, World};

/// Pixels of a map in an SVG.
const WIDTH: usize = 300;
const LEFT: usize = 190;
const ROW: usize = 26;
const TITLE: usize = 40;
const COLUMN: usize = LEFT + WIDTH + 40;

/// One map: a bank or a medium.
pub(crate) struct Map {
    title: String,
    rows: Vec<Row>,
}

/// One line of a map.
struct Row {
    start: u64,
    end: u64,
    name: String,
    world: Option<World>,
}

impl Map {
    /// All maps of a board, memory first.
    pub(crate) fn of(board: &Board) -> Vec<Self> {
        let mut maps = memory_maps(board);
        let Some(hardware) = board.hardware() else { return maps };
        for (kind, medium) in hardware.media {
            let rows = medium.regions.iter().map(|region| Row::of(region.get_ref(), None)).collect();
            let title = format!("{}, boot region of {}", kind.name(), octets(medium.size));
            maps.push(Self { title, rows: with_gaps(rows, 0, medium.size) });
        }
        maps
    }
}

impl Row {
    fn of(part: &impl Extent, world: Option<World>) -> Self {
        Self { start: part.start(), end: part.end(), name: part.name().to_owned(), world }
    }
}

fn memory_maps(board: &Board) -> Vec<Map> {
    let regions = || board.memory.regions.iter().map(Spanned::get_ref);
    let banks = board.memory.banks.iter().map(Spanned::get_ref);
    banks
        .map(|bank| {
            let inside = regions().filter(|region| bank.start <= region.start && region.end() <= bank.end());
            let mut rows: Vec<_> = inside.map(|region| Row::of(region, Some(region.world))).collect();
            let at = *board.memory.u_boot.get_ref();
            if (bank.start..bank.end()).contains(&at) {
                rows.push(Row { start: at, end: at, name: "u-boot is started here".to_owned(), world: None });
            }
            let title = format!("{}, {} from 0x{:x}", bank.name, octets(bank.size), bank.start);
            Map { title, rows: with_gaps(rows, bank.start, bank.end()) }
        })
        .collect()
}

/// Sorted, with a row for each gap.
fn with_gaps(mut rows: Vec<Row>, start: u64, end: u64) -> Vec<Row> {
    rows.sort_by_key(|row| (row.start, row.end));
    let mut all = Vec::new();
    let mut next = start;
    for row in rows {
        if row.start > next {
            all.push(free(next, row.start));
        }
        next = next.max(row.end);
        all.push(row);
    }
    if next < end {
        all.push(free(next, end));
    }
    all
}

fn free(start: u64, end: u64) -> Row {
    Row { start, end, name: "free".to_owned(), world: None }
}

/// Tables for a terminal.
pub(crate) fn text(board: &Board) -> String {
    let mut text = format!("{}: {} ({})\n", board.name.get_ref(), board.title, board.profile.name());
    for map in Map::of(board) {
        let _ = writeln!(text, "\n{}", map.title);
        for row in &map.rows {
            let world = row.world.map_or("", World::name);
            let size = if row.end > row.start { octets(row.end - row.start) } else { String::new() };
            let line = format!("  {:>12x}  {size:>10}  {:<24}{world}", row.start, row.name);
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    if let Some(hardware) = board.hardware() {
        text.push_str("\nregister writes before the first instruction\n");
        for group in &hardware.rcw.writes {
            let _ = writeln!(text, "  {:>3}  {}", group.writes.len(), group.why);
        }
    }
    text
}

/// A picture: one column for each map, addresses downwards, not to scale.
pub(crate) fn svg(board: &Board) -> String {
    let maps = Map::of(board);
    let rows = maps.iter().map(|map| map.rows.len()).max().unwrap_or(0);
    let (width, height) = (COLUMN * maps.len() + 20, TITLE * 2 + ROW * rows + 20);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"20\" y=\"26\" font-size=\"16\">{}: memory and flash of the {}</text>\n",
        escaped(board.name.get_ref()),
        escaped(&board.title)
    );
    maps.iter().enumerate().for_each(|(number, map)| column(&mut text, map, number * COLUMN + 20));
    text.push_str("</svg>\n");
    text
}

fn column(text: &mut String, map: &Map, left: usize) {
    let _ = writeln!(text, "<text x=\"{left}\" y=\"58\" font-weight=\"bold\">{}</text>", escaped(&map.title));
    for (number, row) in map.rows.iter().enumerate() {
        let (top, x) = (TITLE + 30 + number * ROW, left + LEFT);
        let size = if row.end > row.start { octets(row.end - row.start) } else { String::new() };
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{ROW}\" fill=\"{}\" stroke=\"#444\"/>\n\
             <text x=\"{}\" y=\"{}\">{}</text>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\" font-family=\"monospace\">0x{:x}  {size}</text>",
            color(row),
            x + 8,
            top + 17,
            escaped(&row.name),
            x - 8,
            top + 17,
            row.start
        );
    }
}

fn color(row: &Row) -> &'static str {
    match row.world {
        Some(World::Secure) => "#f6c9c4",
        Some(World::Rom) => "#ddd",
        Some(World::Shared) => "#fbe8b6",
        Some(World::Normal) => "#cfe6cf",
        None if row.name == "free" => "#fff",
        None => "#d4e2f4",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number of octets as a reader wants it.
pub(crate) fn octets(size: u64) -> String {
    match size {
        size if size >= 1 << 30 && size % (1 << 30) == 0 => format!("{} GiB", size >> 30),
        size if size >= 1 << 20 && size % (1 << 20) == 0 => format!("{} MiB", size >> 20),
        size if size >= 1 << 10 && size % (1 << 10) == 0 => format!("{} KiB", size >> 10),
        size => format!("{size} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Repo;

    #[test]
    fn maps_show_regions_and_gaps_in_order() {
        let board = Board::load(&Repo::find().unwrap(), "trustbox-edge-201").unwrap();
        let shown = text(&board);
        let place = |part: &str| shown.find(part).unwrap_or_else(|| panic!("{part} is not in\n{shown}"));
        assert!(place("bl31") < place("optee") && place("u-boot is started here") < place("bl31"));
        assert!(place("sd, boot region of 16 MiB") < place("partition-table"));
        assert!(shown.contains("  60.5 MiB") || shown.contains("free"));
        let picture = svg(&board);
        assert_eq!(
            picture.matches("<rect").count(),
            1 + Map::of(&board).iter().map(|m| m.rows.len()).sum::<usize>()
        );
        assert!(picture.ends_with("</svg>\n"));
    }

    #[test]
    fn gaps_are_rows() {
        let row = |start, end| Row { start, end, name: "x".into(), world: None };
        let rows = with_gaps(vec![row(0x30, 0x40), row(0x10, 0x20)], 0, 0x50);
        let starts: Vec<_> = rows.iter().map(|row| (row.start, row.end)).collect();
        assert_eq!(starts, [(0, 0x10), (0x10, 0x20), (0x20, 0x30), (0x30, 0x40), (0x40, 0x50)]);
    }
}
