//! A page of metrics in the making, in Prometheus' text format. Samples are written as they come, each to its family.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use super::spread::Quantiles;

/// The labels of a sample.
pub type Labels<'l> = &'l [(&'l str, &'l dyn Display)];

/// A page is about so long at most: sums come first, then topics, partitions and groups, as far as there is room.
pub const TEXT_MAX_BYTES: usize = 32 * 1024 * 1024;
/// What a sample takes at most beside the names of topics and groups in it.
pub const SAMPLE_BYTES: usize = 110;

/// The text of each family of samples, by name.
pub struct Page {
    families: BTreeMap<&'static str, String>,
    /// How much longer the page may become.
    pub(super) left_bytes: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self { families: BTreeMap::new(), left_bytes: TEXT_MAX_BYTES }
    }
}

impl Page {
    /// Something that only grows.
    pub fn counter(&mut self, name: &'static str, help: &str, labels: Labels<'_>, value: impl Display) {
        self.family((name, help, "counter"), |text| sample(text, (name, ""), labels, &value));
    }

    /// Something that goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &str, labels: Labels<'_>, value: impl Display) {
        self.family((name, help, "gauge"), |text| sample(text, (name, ""), labels, &value));
    }

    /// How something is spread.
    pub fn summary(&mut self, name: &'static str, help: &str, labels: Labels<'_>, quantiles: &Quantiles) {
        self.family((name, help, "summary"), |text| {
            for (share, value) in &quantiles.by_share {
                sample(text, (name, ""), &[labels, &[("quantile", share)]].concat(), value);
            }
            sample(text, (name, "_sum"), labels, &quantiles.sum);
            sample(text, (name, "_count"), labels, &quantiles.count);
        });
    }

    /// Whether the page may become longer by so many bytes.
    pub fn has_room(&self, bytes: usize) -> bool {
        bytes <= self.left_bytes
    }

    /// The text, of which no family is there twice while it is put together.
    pub fn into_text(self) -> String {
        let mut all = String::with_capacity(self.families.values().map(String::len).sum());
        for family in self.families.into_values() {
            all.push_str(&family);
        }
        all
    }

    fn family(&mut self, (name, help, kind): (&'static str, &str, &str), tell: impl FnOnce(&mut String)) {
        let text = self.families.entry(name).or_default();
        let before = text.len();
        if text.is_empty() {
            *text = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        }
        tell(text);
        self.left_bytes = self.left_bytes.saturating_sub(text.len() - before);
    }
}

fn sample(text: &mut String, (name, end): (&str, &str), labels: Labels<'_>, value: &dyn Display) {
    text.push_str(name);
    text.push_str(end);
    for (place, (label, value)) in labels.iter().enumerate() {
        text.push(if place == 0 { '{' } else { ',' });
        text.push_str(label);
        text.push_str("=\"");
        write!(Escaped(text), "{value}").expect("text can be written to");
        text.push('"');
    }
    if !labels.is_empty() {
        text.push('}');
    }
    writeln!(text, " {value}").expect("text can be written to");
}

/// Writes the value of a label.
struct Escaped<'t>(&'t mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for c in text.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_prometheus_text() {
        let mut page = Page::default();
        page.gauge("b", "Up and down.", &[], 1.5);
        page.counter("a_total", "Only up.", &[("topic", &"t\"\\\n")], 3);
        page.counter("a_total", "Only up.", &[("topic", &"u"), ("partition", &7)], i64::MAX);
        page.summary("c", "Spread.", &[("of", &"x")], &Quantiles { count: 2, sum: 1.5, by_share: vec![(0.5, 1.0)] });
        expect_test::expect![[r#"
            # HELP a_total Only up.
            # TYPE a_total counter
            a_total{topic="t\"\\\n"} 3
            a_total{topic="u",partition="7"} 9223372036854775807
            # HELP b Up and down.
            # TYPE b gauge
            b 1.5
            # HELP c Spread.
            # TYPE c summary
            c{of="x",quantile="0.5"} 1
            c_sum{of="x"} 1.5
            c_count{of="x"} 2
        "#]]
        .assert_eq(&page.into_text());
    }
}
