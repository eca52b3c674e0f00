//! Connections of a whole broker, whose inside is at hand.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ottla_protocol::frame::RequestHeader;
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::describe_producers_request::DescribeProducersRequest;
use ottla_protocol::{ApiKey, Message, Writer};

use crate::config::{Config, Written};
use crate::start::Broker;

/// More than there are workers on any machine that runs this.
const CLIENTS: usize = 300;

struct Client(TcpStream);

impl Client {
    fn new(broker: &Broker) -> Self {
        let stream = TcpStream::connect(&broker.addresses()[0]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(stream)
    }

    fn send<'m, M: Message<'m>>(&mut self, key: ApiKey, correlation_id: i32, message: &M) {
        let mut writer = Writer::default();
        let header = RequestHeader { api_key: key.code(), api_version: 0, correlation_id, client_id: None };
        header.encode(&mut writer);
        message.encode(&mut writer, 0);
        let bytes = writer.into_bytes();
        self.0.write_all(&(bytes.len() as i32).to_be_bytes()).unwrap();
        self.0.write_all(&bytes).unwrap();
    }

    /// Which request is answered next.
    fn answered(&mut self) -> i32 {
        let mut number = [0; 4];
        self.0.read_exact(&mut number).unwrap();
        let mut frame = vec![0; i32::from_be_bytes(number) as usize];
        self.0.read_exact(&mut frame).unwrap();
        i32::from_be_bytes(*frame.first_chunk().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_wait_for_each_other_and_nobody_waits_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().display();
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://127.0.0.1:0\nottla.http.listener=\nlog.dirs={logs}\n"
    );
    let config = Config::new(Written::from_text("server.properties", &text).unwrap()).unwrap().0;
    let broker = Broker::start(config).await.unwrap();
    let turn = broker.node.budgets.try_large_turn().expect("nobody has it");
    let (large, small) = (DescribeProducersRequest::default(), ApiVersionsRequest::default());
    let mut waiting: Vec<Client> = (0..CLIENTS).map(|_| Client::new(&broker)).collect();
    for client in &mut waiting {
        client.send(ApiKey::ApiVersions, 1, &small);
        client.send(ApiKey::DescribeProducers, 2, &large);
        client.send(ApiKey::ApiVersions, 3, &small);
        assert_eq!(client.answered(), 1);
    }
    // One of them goes away.
    drop(waiting.pop());
    for _ in 0..CLIENTS {
        let mut client = Client::new(&broker);
        client.send(ApiKey::ApiVersions, 7, &small);
        assert_eq!(client.answered(), 7, "every worker has time");
    }
    drop(turn);
    for client in &mut waiting {
        assert_eq!([client.answered(), client.answered()], [2, 3], "in the order of the requests");
    }
    drop(waiting);
    broker.stop().await.unwrap();
}
