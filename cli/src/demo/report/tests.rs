//! The page is well formed whatever is told in it, and shows everything.
use super::*;

fn page(told: &str, held: bool) -> String {
    let line = |t_ms, mark: Option<Mark>, text: &str| Line {
        t_ms,
        log_time: "day 1 02:03".to_owned(),
        act: "1. An act".to_owned(),
        text: text.to_owned(),
        mark,
        short: mark.map(|_| "leader killed"),
    };
    let wave = |name: &str, opened_ms, ended_ms, ending| WaveBar {
        rollout: told.to_owned(),
        name: name.to_owned(),
        opened_ms,
        ended_ms,
        ending,
    };
    let sample = |t_ms| Sample {
        t_ms,
        log_time: "day 1 02:03".to_owned(),
        check_ins: t_ms * 3,
        offered: t_ms,
        verified: t_ms / 2,
        failed: t_ms / 100,
        returned: 0,
    };
    Report {
        lead: told.to_owned(),
        tiles: vec![
            ("devices", "1234567".to_owned()),
            ("verdict", told.to_owned()),
        ],
        end_ms: 60_000,
        samples: (0..1_000).map(|n| sample(n * 60)).collect(),
        waves: vec![
            wave("canary", 100, Some(20_000), Some("passed")),
            wave("general", 20_000, Some(20_001), Some("halted")),
            wave("late", 59_999, None, None),
        ],
        story: &[
            line(10, None, told),
            line(20_000, Some(Mark::Kill), told),
            line(20_001, Some(Mark::Halt), "halt"),
            line(60_000, Some(Mark::Floor), "floor"),
        ],
        expectations: &[Expectation {
            what: told.to_owned(),
            seen: "yes".to_owned(),
            held,
        }],
    }
    .render()
}

fn parsed(page: &str) -> roxmltree::Document<'_> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..roxmltree::ParsingOptions::default()
    };
    roxmltree::Document::parse_with_options(page, options).unwrap_or_else(|error| panic!("{error}"))
}

fn count(document: &roxmltree::Document<'_>, class: &str) -> usize {
    let nodes = document.descendants();
    let classes = nodes.filter_map(|node| node.attribute("class"));
    classes
        .filter(|classes| classes.split(' ').any(|c| c == class))
        .count()
}

#[test]
fn the_page_is_well_formed_whatever_is_told() {
    for told in [
        "plain",
        "<script>alert(1)</script>",
        "</td>&nbsp;\"'<!--story-->]]>\u{0}\u{1b}[31m",
        "ünïcødé … 漢字",
    ] {
        let page = page(told, true);
        let document = parsed(&page);
        let texts: Vec<_> = document.descendants().filter_map(|n| n.text()).collect();
        let shown = told.replace(char::is_control, "\u{fffd}");
        assert!(texts.iter().any(|text| *text == shown), "{told:?}");
    }
}

#[test]
fn everything_that_happened_is_drawn() {
    let page = page("v2", true);
    let document = parsed(&page);
    assert_eq!(count(&document, "wave"), 3);
    assert_eq!(count(&document, "halted"), 1);
    assert_eq!(count(&document, "flag"), 3);
    assert_eq!(count(&document, "stroke"), 4);
    assert!((200..=240).contains(&count(&document, "at")));
    assert!(page.contains("<b>1,234,567</b>"));
    assert!(page.contains("every expectation held"));
    assert!(super::tests::page("v2", false).contains("1 expectation(s) failed"));
    assert!(
        !page.contains("<!--"),
        "every place of the template is filled"
    );
}

/// No script, and nothing from elsewhere: the page can be mailed and kept.
#[test]
fn the_page_is_self_contained() {
    let page = page("v2", true);
    let document = parsed(&page);
    for node in document.descendants().filter(|node| node.is_element()) {
        assert!(
            !["script", "link", "img", "iframe"].contains(&node.tag_name().name()),
            "{node:?}"
        );
        for attribute in node.attributes() {
            assert!(!attribute.name().starts_with("on"), "{attribute:?}");
            assert!(
                !["src", "href"].contains(&attribute.name()),
                "{attribute:?}"
            );
        }
    }
    assert!(!page.contains("url(") && !page.contains("@import"));
}

/// Nothing is drawn outside the picture.
#[test]
fn the_drawing_stays_within_its_frame() {
    let page = page("v2", true);
    let document = parsed(&page);
    let svg = document
        .descendants()
        .find(|node| node.has_tag_name("svg"))
        .unwrap();
    let frame: Vec<f64> = svg
        .attribute("viewBox")
        .unwrap()
        .split(' ')
        .map(|n| n.parse().unwrap())
        .collect();
    for node in svg.descendants() {
        let number = |name| node.attribute(name).map(|n| n.parse::<f64>().unwrap());
        let right = number("x").unwrap_or(0.0) + number("width").unwrap_or(0.0);
        let low = number("y").unwrap_or(0.0) + number("height").unwrap_or(0.0);
        assert!(right <= frame[2] && low <= frame[3], "{node:?}");
    }
}

#[test]
fn a_demo_that_ended_at_once_still_gives_a_page() {
    let page = Report {
        lead: String::new(),
        tiles: Vec::new(),
        end_ms: 0,
        samples: Vec::new(),
        waves: Vec::new(),
        story: &[],
        expectations: &[],
    }
    .render();
    parsed(&page);
}

#[test]
fn numbers_are_grouped() {
    assert_eq!(grouped(0), "0");
    assert_eq!(grouped(999), "999");
    assert_eq!(grouped(1_000), "1,000");
    assert_eq!(grouped(12_345_678), "12,345,678");
}
