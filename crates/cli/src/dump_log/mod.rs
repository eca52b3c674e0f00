//! `ottla dump-log`: what is in the files of a partition, with the flags and the output of Kafka's kafka-dump-log.sh.
//!
//! - [`log_file`]: `.log` and `.checkpoint`; [`segment`]: their batches, one at a time
//! - [`decoders`]: keys and values as text or JSON
//! - [`indexes`]: `.index` and `.timeindex`; [`producer_files`]: `.snapshot` and `.txnindex`
//!
//! Differs from Kafka: no stack traces; messages of the formats before magic 2 are refused, as is what has no meaning without a
//! JVM (decoders that are not Kafka's) or without tiered storage (`--remote-log-metadata-decoder`); an index beside a file is
//! not made where it is missing; a batch that cannot be read is told of in our own words, but ends the dump as it does there.

mod decoders;
mod failure;
mod indexes;
mod log_file;
mod producer_files;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::java_order::{hash_code, sort_as_computed_in_java};
use decoders::Decoder;
use failure::{Failure, Result};
use indexes::{Mismatches, TimeErrors};
use log_file::Gaps;

const STRING_DECODER: &str = "org.apache.kafka.tools.api.StringDecoder";

/// Which files, and what of them.
#[derive(Args, Clone, Debug, Default)]
pub struct Arguments {
    /// The files to show, with commas between them: .log, .index, .timeindex, .snapshot (of producers), .txnindex,
    /// .checkpoint.
    #[arg(long, value_name = "FILES")]
    files: Option<String>,
    /// Show the keys and values of records. Any decoder does so, too.
    #[arg(long)]
    print_data_log: bool,
    /// Show each record, not only the batches. So does --print-data-log.
    #[arg(long)]
    deep_iteration: bool,
    /// A batch is at most so many bytes long, where an index is compared with its log.
    #[arg(long, value_name = "BYTES", default_value_t = 5 * 1024 * 1024, allow_hyphen_values = true)]
    max_message_size: i32,
    /// Show no more than so many bytes of each log.
    #[arg(long, value_name = "BYTES", default_value_t = i32::MAX, allow_hyphen_values = true)]
    max_bytes: i32,
    /// Check an index as a broker does when it starts, and do not show it.
    #[arg(long)]
    index_sanity_check: bool,
    /// Compare an index with its log, and do not show it.
    #[arg(long)]
    verify_index_only: bool,
    /// What values are: the StringDecoder, IntegerDecoder or LongDecoder of org.apache.kafka.tools.api.
    #[arg(long, value_name = "CLASS", num_args = 0..=1, default_missing_value = STRING_DECODER)]
    value_decoder_class: Option<String>,
    /// What keys are, likewise.
    #[arg(long, value_name = "CLASS", num_args = 0..=1, default_missing_value = STRING_DECODER)]
    key_decoder_class: Option<String>,
    /// Show the records of __consumer_offsets.
    #[arg(long)]
    offsets_decoder: bool,
    /// Show the records of __transaction_state.
    #[arg(long)]
    transaction_log_decoder: bool,
    /// Show the records of the metadata log.
    #[arg(long)]
    cluster_metadata_decoder: bool,
    /// Refused: there is no tiered storage.
    #[arg(long)]
    remote_log_metadata_decoder: bool,
    /// Show the records of __share_group_state.
    #[arg(long)]
    share_group_state_decoder: bool,
    /// Show nothing of a record but key and value, and nothing of control records.
    #[arg(long)]
    skip_record_metadata: bool,
}

/// Does what the arguments say.
pub fn run(arguments: &Arguments) -> ExitCode {
    let Some(files) = &arguments.files else {
        eprintln!("Missing required argument \"[files]\"\nTry 'ottla dump-log --help'.");
        return ExitCode::FAILURE;
    };
    if arguments.remote_log_metadata_decoder {
        eprintln!("There is no tiered storage here, and so no __remote_log_metadata to decode: use another decoder.");
        return ExitCode::FAILURE;
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let mut notes = io::stderr().lock();
    let done = arguments.execute(files, &mut out, &mut notes);
    // A reader that has gone away, such as `head`, is no failure of ours.
    let _ = out.flush();
    match done {
        Ok(()) | Err(Failure::Output(_)) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(notes, "{failure}");
            ExitCode::FAILURE
        }
    }
}

/// What was found wrong, file by file, in the order in which it was found.
#[derive(Default)]
struct Findings {
    mismatches: Vec<(String, Mismatches)>,
    times: Vec<(String, TimeErrors)>,
    gaps: Vec<(String, Gaps)>,
}

impl Arguments {
    fn execute(&self, files: &str, out: &mut impl Write, notes: &mut impl Write) -> Result<()> {
        let mut findings = Findings::default();
        // As in Java, nothing comes after the last comma.
        for file in files.trim_end_matches(',').split(',') {
            let path = normal(file);
            writeln!(out, "Dumping {}", path.display())?;
            self.dump(&path, &mut findings, out, notes)?;
        }
        out.flush()?;
        findings.tell(notes)
    }

    fn dump(&self, path: &Path, findings: &mut Findings, out: &mut impl Write, notes: &mut impl Write) -> Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let suffix = name.rfind('.').map_or("", |dot| &name[dot..]);
        let whole = indexes::absolute(path);
        let wanted = indexes::Wanted {
            sanity_only: self.index_sanity_check,
            verify_only: self.verify_index_only,
            message_bytes_max: self.max_message_size,
        };
        match suffix {
            ".log" | ".checkpoint" => {
                let decoder = self.decoder()?;
                let wanted = log_file::Wanted {
                    is_deep: self.deep_iteration || decoder.is_some(),
                    decoder: decoder.as_ref(),
                    no_metadata: self.skip_record_metadata,
                    bytes_max: self.max_bytes,
                };
                log_file::dump(path, &wanted, entry(&mut findings.gaps, whole), out)
            }
            ".index" => indexes::dump_offsets(path, wanted, entry(&mut findings.mismatches, whole), out),
            ".timeindex" => indexes::dump_times(path, wanted, entry(&mut findings.times, whole), out),
            ".snapshot" => producer_files::dump_producers(path, out, notes),
            ".txnindex" => producer_files::dump_aborted(path, out),
            _ => Ok(writeln!(notes, "Ignoring unknown file {}", path.display())?),
        }
    }

    /// What shows keys and values, if they are to be shown.
    fn decoder(&self) -> Result<Option<Decoder>> {
        let class = |class: &Option<String>| class.clone().unwrap_or_else(|| STRING_DECODER.to_owned());
        let is_plain = self.print_data_log || self.value_decoder_class.is_some() || self.key_decoder_class.is_some();
        Ok(if self.offsets_decoder {
            Some(Decoder::coordinator("offsets"))
        } else if self.transaction_log_decoder {
            Some(Decoder::coordinator("transaction"))
        } else if self.cluster_metadata_decoder {
            Some(Decoder::metadata())
        } else if self.share_group_state_decoder {
            Some(Decoder::coordinator("share"))
        } else if is_plain {
            Some(Decoder::plain(&class(&self.key_decoder_class), &class(&self.value_decoder_class))?)
        } else {
            None
        })
    }
}

/// The findings in a file, which may have been named before.
fn entry<T: Default>(all: &mut Vec<(String, T)>, file: String) -> &mut T {
    let index = all.iter().position(|(name, _)| *name == file).unwrap_or_else(|| {
        all.push((file, T::default()));
        all.len() - 1
    });
    &mut all[index].1
}

/// A path without what Java leaves out: slashes beside others, and at the end.
fn normal(file: &str) -> PathBuf {
    let mut path = String::new();
    for character in file.chars() {
        if character != '/' || !path.ends_with('/') {
            path.push(character);
        }
    }
    if path.len() > 1 && path.ends_with('/') {
        path.pop();
    }
    PathBuf::from(path)
}

impl Findings {
    fn tell(&self, notes: &mut impl Write) -> Result<()> {
        for (file, found) in in_java_order(&self.mismatches, BTreeMap::len) {
            writeln!(notes, "Mismatches in :{file}")?;
            for (index, log) in found.iter().rev() {
                writeln!(notes, "  Index offset: {index}, log offset: {log}")?;
            }
        }
        for (file, found) in in_java_order(&self.times, |found| found.mismatches.len()) {
            writeln!(notes, "Found timestamp mismatch in :{file}")?;
            for (index, log) in &found.mismatches {
                writeln!(notes, "  Index timestamp: {index}, log timestamp: {log}")?;
            }
        }
        for (file, found) in in_java_order(&self.times, |found| found.out_of_order.len()) {
            writeln!(notes, "Found out of order timestamp in :{file}")?;
            for (index, before) in &found.out_of_order {
                writeln!(notes, "  Index timestamp: {index}, Previously indexed timestamp: {before}")?;
            }
        }
        for (file, found) in in_java_order(&self.times, |found| found.not_found.len()) {
            writeln!(notes, "The following indexed offsets are not found in :{file}")?;
            for (index, log) in &found.not_found {
                writeln!(notes, "Indexed offset: {index}, found log offset: {log}")?;
            }
        }
        for (file, found) in in_java_order(&self.gaps, BTreeMap::len) {
            writeln!(notes, "Non-consecutive offsets in {file}")?;
            for (before, next) in found {
                writeln!(notes, "  {before} is followed by {next}")?;
            }
        }
        Ok(())
    }
}

/// The files that have something to tell of, each `count` times. Kafka's tool asks its map for the file at each finding.
fn in_java_order<T>(all: &[(String, T)], count: impl Fn(&T) -> usize) -> Vec<&(String, T)> {
    let mut files: Vec<_> = all.iter().filter(|(_, found)| count(found) > 0).collect();
    let is_last_asked_for_again = files.last().is_some_and(|(_, found)| count(found) > 1);
    sort_as_computed_in_java(&mut files, is_last_asked_for_again, |(file, _)| hash_code(file));
    files
}
