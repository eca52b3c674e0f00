//! Very many groups of one member: what they cost, and how soon they are there again after a start.

use std::thread;
use std::time::{Duration, Instant};

use ottla_e2e::group_requests::{self as requests, PASSING, Standing};
use ottla_e2e::{RawClient, body};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::heartbeat_response::HeartbeatResponse;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;

use crate::Fallible;
use crate::bench::usage;
use crate::server::Server;

const TOPIC: &str = "read-by-many";
const CONNECTIONS: usize = 50;
const SESSION_MS: i32 = 60_000;
/// A group without a coordinator for so long has none.
const COORDINATED_WITHIN: Duration = Duration::from_secs(10);
/// As Java's consumer sends them by default.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(3);
const ROUNDS: u32 = 10;

/// What came out.
pub struct Outcome {
    groups: usize,
    joined_in: Duration,
    resident_bytes: u64,
    heartbeats_per_s: f64,
    /// Processor seconds for each second.
    heartbeat_cpu: f64,
    /// From the start of the process to the last group's offset.
    loaded_in: Duration,
}

/// A connection, and the groups whose members use it.
struct Lane {
    client: RawClient,
    members: Vec<Standing>,
}

/// Runs it on a broker without topics.
pub fn run(server: &mut Server, groups: usize) -> Fallible<Outcome> {
    let address = server.bootstrap();
    let mut client = RawClient::connect(&address)?;
    requests::create_topic(&mut client, TOPIC, 1)?;
    requests::find_coordinator(&mut client, "group-0")?;
    let begun = Instant::now();
    let mut lanes = on_all(CONNECTIONS, |lane| join(&address, (lane..groups).step_by(CONNECTIONS)))?;
    let joined_in = begun.elapsed();
    let cpu_before_s = usage::cpu_s(server.pid()?)?;
    let begun = Instant::now();
    for round in 1..=ROUNDS {
        lanes.iter_mut().try_for_each(heartbeats)?;
        thread::sleep((HEARTBEAT_EVERY * round).saturating_sub(begun.elapsed()));
    }
    let took_s = begun.elapsed().as_secs_f64();
    let heartbeat_cpu = (usage::cpu_s(server.pid()?)? - cpu_before_s) / took_s;
    let resident_bytes = usage::memory(server.pid()?)?.now;
    server.stop()?;
    let begun = Instant::now();
    server.start()?;
    let address = server.bootstrap();
    on_all(CONNECTIONS, |lane| find_again(&address, &lanes[lane].members))?;
    let loaded_in = begun.elapsed();
    let heartbeats_per_s = groups as f64 * f64::from(ROUNDS) / took_s;
    Ok(Outcome { groups, joined_in, resident_bytes, heartbeats_per_s, heartbeat_cpu, loaded_in })
}

fn on_all<T: Send>(count: usize, work: impl Fn(usize) -> Fallible<T> + Sync) -> Fallible<Vec<T>> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|lane| {
                let work = &work;
                scope.spawn(move || work(lane).map_err(|error| error.to_string()))
            })
            .collect();
        threads.into_iter().map(|thread| Ok(thread.join().expect("lanes do not panic")?)).collect()
    })
}

fn join(address: &str, groups: impl Iterator<Item = usize>) -> Fallible<Lane> {
    let mut client = RawClient::connect(address)?;
    let mut members = Vec::new();
    for number in groups {
        let group = format!("group-{number}");
        let request = requests::join_request(&group, "", SESSION_MS);
        let deadline = Instant::now() + COORDINATED_WITHIN;
        let answer = loop {
            let answer = requests::ask(&mut client, ApiKey::JoinGroup, 3, &request)?;
            match body::<JoinGroupResponse<'_>>(&answer, ApiKey::JoinGroup, 3) {
                JoinGroupResponse { error_code: 0, .. } => break answer,
                // Kafka names a coordinator before that one knows of it.
                joined if PASSING.contains(&joined.error_code) && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(1));
                }
                joined => return Err(format!("{group}: {joined:?}").into()),
            }
        };
        let joined: JoinGroupResponse<'_> = body(&answer, ApiKey::JoinGroup, 3);
        let standing = Standing { group, member: joined.member_id.to_string(), generation: joined.generation_id };
        let share = vec![(standing.member.clone(), b"all".to_vec())];
        let answer = requests::ask(&mut client, ApiKey::SyncGroup, 2, &requests::sync_request(&standing, share))?;
        let synced: SyncGroupResponse<'_> = body(&answer, ApiKey::SyncGroup, 2);
        let code = match synced.error_code {
            0 => requests::commit(&mut client, &standing, TOPIC, &[(0, number as i64)])?,
            code => code,
        };
        if code != 0 {
            return Err(format!("{}: error {code}", standing.group).into());
        }
        members.push(standing);
    }
    Ok(Lane { client, members })
}

/// One of each member, all on their way at once.
fn heartbeats(lane: &mut Lane) -> Fallible<()> {
    for member in &lane.members {
        let frame = lane.client.frame_of(ApiKey::Heartbeat, 2, &requests::heartbeat_request(member));
        lane.client.send_frame(&frame)?;
    }
    for member in &lane.members {
        let answer = lane.client.receive().map_err(|_| "the broker closed the connection")?;
        let code = body::<HeartbeatResponse>(&answer, ApiKey::Heartbeat, 2).error_code;
        if code != 0 {
            return Err(format!("{}: error {code}", member.group).into());
        }
    }
    Ok(())
}

/// Asks until every group is there as it was.
fn find_again(address: &str, members: &[Standing]) -> Fallible<()> {
    let mut client = RawClient::connect(address)?;
    for member in members {
        let found = loop {
            match requests::committed(&mut client, &member.group, TOPIC, &[0])? {
                Err(code) if PASSING.contains(&code) => thread::sleep(Duration::from_millis(1)),
                found => break found,
            }
        };
        let expected: i64 = member.group.trim_start_matches("group-").parse()?;
        if found != Ok(vec![(0, expected)]) {
            return Err(format!("{}: {found:?} after the start", member.group).into());
        }
    }
    Ok(())
}

/// A table of what came out.
pub fn print(outcomes: &[(&str, Outcome)]) {
    println!(
        "| broker | groups | joined in s | resident MiB | heartbeats/s | broker CPU | there again after a start, ms |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for (name, outcome) in outcomes {
        println!(
            "| {name} | {} | {:.1} | {:.0} | {:.0} | {:.1} % | {} |",
            outcome.groups,
            outcome.joined_in.as_secs_f64(),
            outcome.resident_bytes as f64 / f64::from(1 << 20),
            outcome.heartbeats_per_s,
            100.0 * outcome.heartbeat_cpu,
            outcome.loaded_in.as_millis()
        );
    }
    println!();
}
