//! Numbers as Java writes them.

use std::fmt;

/// A number in Java's words: with an exponent from ten million on and below a thousandth.
pub fn decimal(number: impl Into<f64> + Copy + fmt::Debug + fmt::UpperExp) -> String {
    let value: f64 = number.into();
    match value.abs() {
        _ if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        // Debug of 0 and NaN is Java's as well.
        size if size == 0.0 || size.is_nan() || (1e-3..1e7).contains(&size) => format!("{number:?}"),
        _ => {
            let text = format!("{number:E}");
            if text.contains('.') { text } else { text.replacen('E', ".0E", 1) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_java_writes_them() {
        let doubles = [0.0, 1.0, 0.1, 1e7, 1.5e-4, 123_456.789, f64::NAN, f64::NEG_INFINITY].map(decimal);
        assert_eq!(doubles, ["0.0", "1.0", "0.1", "1.0E7", "1.5E-4", "123456.789", "NaN", "-Infinity"]);
        assert_eq!([0.1_f32, 1e10].map(decimal), ["0.1", "1.0E10"]);
    }
}
