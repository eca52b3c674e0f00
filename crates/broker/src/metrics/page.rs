//! A page of metrics in the making, in Prometheus' text format.

use std::collections::BTreeMap;

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary};
use prometheus::{Encoder, TextEncoder};

use super::times::Quantiles;

/// The labels of a sample.
pub type Labels<'l> = &'l [(&'l str, &'l str)];

/// Families of samples, by name.
#[derive(Default)]
pub struct Page {
    families: BTreeMap<&'static str, MetricFamily>,
}

impl Page {
    /// Something that only grows.
    pub fn counter(&mut self, name: &'static str, help: &str, labels: Labels<'_>, value: f64) {
        let mut counter = Counter::default();
        counter.set_value(value);
        let mut metric = labelled(labels);
        metric.set_counter(counter);
        self.add(name, help, MetricType::COUNTER, metric);
    }

    /// Something that goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &str, labels: Labels<'_>, value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = labelled(labels);
        metric.set_gauge(gauge);
        self.add(name, help, MetricType::GAUGE, metric);
    }

    /// How something is spread.
    pub fn summary(&mut self, name: &'static str, help: &str, labels: Labels<'_>, quantiles: &Quantiles) {
        let of_share = |&(share, value): &(f64, f64)| {
            let mut quantile = Quantile::default();
            quantile.set_quantile(share);
            quantile.set_value(value);
            quantile
        };
        let mut summary = Summary::default();
        summary.set_sample_count(quantiles.count);
        summary.set_sample_sum(quantiles.sum);
        summary.set_quantile(quantiles.by_share.iter().map(of_share).collect());
        let mut metric = labelled(labels);
        metric.set_summary(summary);
        self.add(name, help, MetricType::SUMMARY, metric);
    }

    /// The text.
    pub fn into_text(self) -> String {
        let families: Vec<MetricFamily> = self.families.into_values().collect();
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text).expect("writing to memory does not fail");
        String::from_utf8(text).expect("names and labels are text")
    }

    fn add(&mut self, name: &'static str, help: &str, kind: MetricType, metric: Metric) {
        let family = self.families.entry(name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            family
        });
        family.mut_metric().push(metric);
    }
}

fn labelled(labels: Labels<'_>) -> Metric {
    let label = |&(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    let mut metric = Metric::default();
    metric.set_label(labels.iter().map(label).collect());
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_prometheus_text() {
        let mut page = Page::default();
        page.gauge("b", "Up and down.", &[], 1.5);
        page.counter("a_total", "Only up.", &[("topic", "t\"\\\n")], 3.0);
        page.counter("a_total", "Only up.", &[("topic", "u")], 4.0);
        page.summary("c", "Spread.", &[], &Quantiles { count: 2, sum: 1.5, by_share: vec![(0.5, 1.0)] });
        expect_test::expect![[r#"
            # HELP a_total Only up.
            # TYPE a_total counter
            a_total{topic="t\"\\\n"} 3
            a_total{topic="u"} 4
            # HELP b Up and down.
            # TYPE b gauge
            b 1.5
            # HELP c Spread.
            # TYPE c summary
            c{quantile="0.5"} 1
            c_sum 1.5
            c_count 2
        "#]]
        .assert_eq(&page.into_text());
    }
}
