//! A broker for tests: it answers ApiVersions and Metadata by itself, and the rest as the test says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use ottla_protocol::frame::RequestHeader;
use ottla_protocol::messages::api_versions_response::{ApiKey as ServedApi, ApiVersionsResponse};
use ottla_protocol::messages::metadata_response::{Broker, MetadataResponse, Partition, Topic};
use ottla_protocol::{ApiKey, Message, Reader, Writer};

use super::{Cluster, Endpoint, Options};

/// The only broker, with the id 1. It leads the topic `t` of three partitions.
pub struct FakeBroker {
    /// Where it listens.
    pub port: u16,
}

impl FakeBroker {
    /// Starts one that serves `apis`. `answer` writes the body of an answer, and says whether there is to be one.
    pub fn start(
        apis: &'static [ApiKey],
        answer: impl Fn(ApiKey, i16, Reader<'_>, &mut Writer) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(answer);
        // The threads end with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let answer = Arc::clone(&answer);
                thread::spawn(move || serve(stream.unwrap(), port, apis, &*answer));
            }
        });
        Self { port }
    }

    /// A client of it.
    pub fn connect(&self) -> Cluster {
        Cluster::connect(Endpoint::Brokers, &format!("127.0.0.1:{}", self.port), &Options::default()).unwrap()
    }
}

fn serve(
    mut stream: TcpStream,
    port: u16,
    apis: &[ApiKey],
    answer: &impl Fn(ApiKey, i16, Reader<'_>, &mut Writer) -> bool,
) {
    let mut size = [0; 4];
    while stream.read_exact(&mut size).is_ok() {
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        stream.read_exact(&mut frame).unwrap();
        let (header, body) = RequestHeader::decode(&frame).unwrap();
        let (api, version) = (ApiKey::from_code(header.api_key).unwrap(), header.api_version);
        let mut writer = Writer::default();
        api.begin_response(&mut writer, version, header.correlation_id);
        let answered = match api {
            ApiKey::ApiVersions => {
                served(apis).encode(&mut writer, version);
                true
            }
            ApiKey::Metadata => {
                metadata(port).encode(&mut writer, version);
                true
            }
            _ => answer(api, version, Reader::new(body), &mut writer),
        };
        writer.finish_frame();
        if answered {
            stream.write_all(&writer.into_bytes()).unwrap();
        }
    }
}

fn served(apis: &[ApiKey]) -> ApiVersionsResponse<'static> {
    let served = [ApiKey::ApiVersions, ApiKey::Metadata].iter().chain(apis).map(|api| {
        let versions = api.kafka_versions();
        ServedApi { api_key: *api as i16, min_version: *versions.start(), max_version: *versions.end() }
    });
    ApiVersionsResponse { api_keys: served.collect(), ..ApiVersionsResponse::default() }
}

fn metadata(port: u16) -> MetadataResponse<'static> {
    let broker = Broker { node_id: 1, host: "127.0.0.1".into(), port: i32::from(port), ..Broker::default() };
    let partition = |partition_index| Partition { partition_index, leader_id: 1, ..Partition::default() };
    let partitions = (0..3).map(partition).collect();
    let topic = Topic { name: Some("t".into()), partitions, ..Topic::default() };
    MetadataResponse { brokers: vec![broker], topics: vec![topic], ..MetadataResponse::default() }
}
