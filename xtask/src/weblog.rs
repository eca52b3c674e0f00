//! A web server's access log as one could find it, made from a seed: the same seed gives the same bytes.
//!
//! ```text
//! 198.51.100.7 - - [21/Nov/2026:06:25:01 +0000] "GET /catalog/1234?page=2 HTTP/1.1" 200 5120 "https://example.com/" "Mozilla/5.0 ..."
//! ```
//!
//! A few visitors, pages and programs cause most lines, as in a real log, so that it compresses like one.

use std::io::{self, Write};

use ottla_base::Random;

/// 21 November 2026, midnight, in seconds since the epoch.
const START_S: u64 = 1_795_219_200;
const DAY_S: u64 = 86_400;
const VISITORS: u64 = 20_000;
const PRODUCTS: u64 = 5_000;

const AGENTS: [&str; 8] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "curl/8.11.0",
    "-",
];
const ASSETS: [&str; 6] =
    ["/static/app.js", "/static/app.css", "/favicon.ico", "/static/logo.svg", "/static/font.woff2", "/robots.txt"];
const REFERRERS: [&str; 4] =
    ["-", "https://shop.example.com/", "https://www.google.com/", "https://news.example.org/weekly"];

/// Writes `lines` lines.
pub fn write(mut to: impl Write, seed: u64, lines: u64) -> io::Result<()> {
    let mut random = Random::new(seed);
    let mut seconds = START_S;
    for _ in 0..lines {
        // About forty lines a second.
        seconds += u64::from(random.below(40) == 0);
        writeln!(to, "{}", line(&mut random, seconds))?;
    }
    to.flush()
}

fn line(random: &mut Random, seconds: u64) -> String {
    let visitor = often_small(random, VISITORS);
    let agent = AGENTS[pick(visitor, AGENTS.len())];
    let user = if visitor % 50 == 7 { format!("user{visitor}") } else { "-".to_owned() };
    let (method, path) = request(random);
    let (status, bytes) = answer(random, method);
    let referrer = REFERRERS[often_small(random, REFERRERS.len() as u64) as usize];
    format!(
        "{} - {user} [{}] \"{method} {path} HTTP/1.1\" {status} {bytes} \"{referrer}\" \"{agent}\"",
        address(visitor),
        time(seconds)
    )
}

/// A number in `0..bound`; each half of the range is as likely as the half before it was twice as often.
fn often_small(random: &mut Random, bound: u64) -> u64 {
    let within = random.below(bound) + 1;
    random.below(within)
}

fn request(random: &mut Random) -> (&'static str, String) {
    match random.below(100) {
        0..35 => ("GET", ASSETS[often_small(random, ASSETS.len() as u64) as usize].to_owned()),
        35..70 => ("GET", format!("/products/{}", often_small(random, PRODUCTS))),
        70..82 => ("GET", format!("/catalog?page={}&sort=price", often_small(random, 200))),
        82..90 => ("GET", format!("/search?q={}+{}", word(random), word(random))),
        90..96 => ("POST", "/api/cart".to_owned()),
        96..99 => ("POST", "/login".to_owned()),
        _ => ("GET", format!("/{}.php?id={:x}", word(random), random.next_u64())),
    }
}

fn word(random: &mut Random) -> &'static str {
    const WORDS: [&str; 10] =
        ["red", "shoes", "lamp", "garden", "winter", "coat", "%C3%BCber", "desk", "wp-login", "tea"];
    WORDS[often_small(random, WORDS.len() as u64) as usize]
}

fn answer(random: &mut Random, method: &str) -> (u16, u64) {
    match random.below(1000) {
        0..870 => (200, 200 + often_small(random, 60_000)),
        870..930 => (304, 0),
        930..960 => (302, 154),
        960..990 => (404, 153),
        990..996 if method == "POST" => (403, 146),
        990..998 => (499, 0),
        _ => (500, 170),
    }
}

/// The visitor's address: always the same one, spread over the address space.
fn address(visitor: u64) -> String {
    let bits = Random::new(visitor).next_u64();
    let [a, b, c, d, ..] = bits.to_be_bytes();
    if visitor % 10 == 3 {
        return format!("2001:db8:{:x}:{:x}::{:x}", bits & 0xffff, bits >> 48, visitor);
    }
    format!("{}.{b}.{c}.{}", 11 + a % 200, d.max(1))
}

/// A day of November 2026 and the time of that day; the log ends before the month does.
fn time(seconds: u64) -> String {
    let (day, second) = ((seconds - START_S) / DAY_S, (seconds - START_S) % DAY_S);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{:02}/Nov/2026:{hour:02}:{minute:02}:{:02} +0000", 21 + day, second % 60)
}

fn pick(visitor: u64, count: usize) -> usize {
    (Random::new(!visitor).next_u64() % count as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(seed: u64, lines: u64) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes, seed, lines).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        assert_eq!(log(1, 1000), log(1, 1000));
        assert_ne!(log(1, 1000), log(2, 1000));
    }

    #[test]
    fn every_line_has_the_fields_of_the_combined_format() {
        for line in log(3, 5000).lines() {
            let quoted: Vec<_> = line.split('"').collect();
            assert_eq!(quoted.len(), 7, "{line}");
            assert_eq!(quoted[1].split(' ').count(), 3, "{line}");
            let [status, bytes] = quoted[2].split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert!((200..600).contains(&status.parse::<u16>().unwrap()), "{line}");
            bytes.parse::<u64>().unwrap();
        }
    }
}
