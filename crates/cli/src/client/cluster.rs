//! The brokers of a cluster: which there are, which of them leads a partition, and a connection to each in use.
//!
//! A connection that failed is dropped and opened anew by the next request; nothing is sent again from here, because only
//! the caller knows whether that is safe.

use std::collections::BTreeMap;
use std::io;
use std::net::ToSocketAddrs;
use std::time::Duration;

use ottla_base::Uuid;
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::describe_cluster_response::DescribeClusterResponse;
use ottla_protocol::messages::metadata_request::{MetadataRequest, Topic as WantedTopic};
use ottla_protocol::messages::metadata_response::MetadataResponse;
use ottla_protocol::{ApiKey, ErrorCode, Message, Str};

use super::connection::{Answer, Connection, Options};
use super::{Address, Error};

/// The first version of DescribeCluster that tells brokers from controllers (KIP-919).
const DESCRIBE_CLUSTER_WITH_TYPES: i16 = 1;

/// Whom the addresses that the user gave lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// To the brokers, which tell of the others by Metadata.
    Brokers,
    /// To the controllers, which tell of each other by DescribeCluster, and serve less (KIP-919).
    Controllers,
}

impl Endpoint {
    /// Its number on the wire.
    fn on_the_wire(self) -> i8 {
        match self {
            Self::Brokers => 1,
            Self::Controllers => 2,
        }
    }
}

/// A cluster as its metadata shows it.
#[derive(Debug)]
pub struct Cluster {
    endpoint: Endpoint,
    options: Options,
    bootstrap: Vec<Address>,
    any: Option<Connection>,
    brokers: BTreeMap<i32, Address>,
    connections: BTreeMap<i32, Connection>,
}

/// Which topics to ask for.
#[derive(Clone, Copy, Debug)]
pub enum Topics<'a> {
    /// All of them.
    All,
    /// These; they are created where the broker does that for clients and `create` allows it.
    Named {
        /// Their names.
        names: &'a [&'a str],
        /// Whether they may come into being by this.
        create: bool,
    },
    /// The one of this id (KIP-516).
    Id(Uuid),
}

/// What the metadata says of a topic.
#[derive(Clone, Debug)]
pub struct TopicDescription {
    /// Its name; empty where only an unknown id is known.
    pub name: String,
    /// Its id; zero on brokers that are too old for ids.
    pub id: Uuid,
    /// Whether it is Kafka's own.
    pub is_internal: bool,
    /// Why there is nothing more to say.
    pub error: ErrorCode,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionDescription>,
}

/// What the metadata says of a partition.
#[derive(Clone, Debug)]
pub struct PartitionDescription {
    /// Its number.
    pub index: i32,
    /// The broker that leads it.
    pub leader: Option<i32>,
    /// The brokers that have it.
    pub replicas: Vec<i32>,
    /// Those that are in sync.
    pub in_sync: Vec<i32>,
}

impl Cluster {
    /// Connects to the first of the list that answers, and learns of the others.
    pub fn connect(endpoint: Endpoint, bootstrap: &str, options: &Options) -> Result<Self, Error> {
        let mut cluster = Self::at(endpoint, Address::parse_list(bootstrap)?, options);
        cluster.learn()?;
        Ok(cluster)
    }

    /// A cluster that is not connected to before something is asked of it. A list of which no name has an address is refused at
    /// once.
    pub fn begin(bootstrap: &str, options: &Options) -> Result<Self, Error> {
        let addresses = Address::parse_list(bootstrap)?;
        let has_none = |address: &&Address| {
            (address.host.as_str(), address.port).to_socket_addrs().map_or(true, |mut found| found.next().is_none())
        };
        let without: Vec<Address> = addresses.iter().filter(has_none).cloned().collect();
        if without.len() == addresses.len() {
            return Err(Error::Unresolvable(without));
        }
        Ok(Self::at(Endpoint::Brokers, addresses, options))
    }

    fn at(endpoint: Endpoint, bootstrap: Vec<Address>, options: &Options) -> Self {
        let options = options.clone();
        Self { endpoint, options, bootstrap, any: None, brokers: BTreeMap::new(), connections: BTreeMap::new() }
    }

    /// Learns who is there.
    fn learn(&mut self) -> Result<(), Error> {
        match self.endpoint {
            Endpoint::Brokers => self.topics(Topics::Named { names: &[], create: false }).map(|_| ()),
            Endpoint::Controllers => self.learn_controllers(),
        }
    }

    fn learn_controllers(&mut self) -> Result<(), Error> {
        let api = ApiKey::DescribeCluster;
        if self.version_of(api)? < DESCRIBE_CLUSTER_WITH_TYPES {
            return Err(Error::NotServed { peer: self.any()?.peer().clone(), api });
        }
        let endpoint_type = self.endpoint.on_the_wire();
        let answer = self.ask(api, &DescribeClusterRequest { endpoint_type, ..DescribeClusterRequest::default() })?;
        let response: DescribeClusterResponse<'_> = answer.read()?;
        if response.error_code != 0 {
            return Err(Error::of_code(response.error_code, response.error_message.as_deref()));
        }
        self.learn_all(response.brokers.iter().map(|of| (of.broker_id, &*of.host, of.port)));
        Ok(())
    }

    /// Refuses what controllers do not serve.
    pub fn check_asks_brokers(&self) -> Result<(), Error> {
        const NOT_SERVED: &str =
            "This Admin API is not yet supported when communicating directly with the controller quorum.";
        match self.endpoint {
            Endpoint::Brokers => Ok(()),
            Endpoint::Controllers => Err(Error::of_code(ErrorCode::UnsupportedEndpointType.code(), Some(NOT_SERVED))),
        }
    }

    /// Whom it leads to.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// Under which name brokers know us.
    pub fn client_id(&self) -> &str {
        &self.options.client_id
    }

    /// The brokers that the cluster says are alive.
    pub fn live_brokers(&self) -> impl Iterator<Item = i32> + '_ {
        self.brokers.keys().copied()
    }

    /// How long a request may take.
    pub fn request_timeout(&self) -> Duration {
        self.options.request_timeout
    }

    /// Takes a broker as alive because another one named it: a coordinator that the metadata does not have yet.
    pub fn learn_broker(&mut self, id: i32, host: &str, port: i32) {
        if let Ok(port) = u16::try_from(port) {
            self.brokers.entry(id).or_insert_with(|| Address { host: host.to_owned(), port });
        }
    }

    /// The newest version of `api` that any broker and we know.
    pub fn version_of(&mut self, api: ApiKey) -> Result<i16, Error> {
        let connection = self.any()?;
        let version = connection.version_of(api);
        version.ok_or_else(|| Error::NotServed { peer: connection.peer().clone(), api })
    }

    /// Asks any broker.
    pub fn ask<'q>(&mut self, api: ApiKey, request: &impl Message<'q>) -> Result<Answer, Error> {
        let answer = self.any()?.ask(api, request);
        self.keep_any(answer)
    }

    /// A connection to the broker of this id.
    pub fn broker(&mut self, id: i32) -> Result<&mut Connection, Error> {
        if !self.connections.contains_key(&id) {
            if self.brokers.is_empty() {
                self.learn()?;
            }
            let address = self.brokers.get(&id).ok_or_else(|| Error::Refused {
                code: ErrorCode::BrokerNotAvailable,
                message: format!("the cluster has no live broker {id}"),
            })?;
            self.connections.insert(id, Connection::open(address, &self.options)?);
        }
        Ok(self.connections.get_mut(&id).expect("it has just been looked for, and opened if missing"))
    }

    /// Closes the connection to a broker, after it failed.
    pub fn drop_broker(&mut self, id: i32) {
        self.connections.remove(&id);
    }

    /// Whether there is a connection to that broker.
    pub fn is_connected(&self, id: i32) -> bool {
        self.connections.contains_key(&id)
    }

    /// Asks for topics, and learns on the way which brokers there are. By name, each topic comes back with its error, in the
    /// order of names; nothing else does.
    pub fn topics(&mut self, wanted: Topics<'_>) -> Result<Vec<TopicDescription>, Error> {
        self.check_asks_brokers()?;
        let (topics, create) = match wanted {
            Topics::All => (None, false),
            Topics::Named { names, create } => {
                let topic = |name: &&str| WantedTopic { topic_id: Uuid::ZERO, name: Some(name.to_string().into()) };
                (Some(names.iter().map(topic).collect()), create)
            }
            Topics::Id(topic_id) => (Some(vec![WantedTopic { topic_id, name: None }]), false),
        };
        let request = MetadataRequest { topics, allow_auto_topic_creation: create, ..MetadataRequest::default() };
        let answer = self.ask(ApiKey::Metadata, &request)?;
        let response: MetadataResponse<'_> = answer.read()?;
        self.learn_all(response.brokers.iter().map(|broker| (broker.node_id, &*broker.host, broker.port)));
        let mut topics: Vec<_> = response.topics.iter().map(TopicDescription::of).collect();
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(topics)
    }

    fn learn_all<'r>(&mut self, nodes: impl Iterator<Item = (i32, &'r str, i32)>) {
        let address = |host: &str, port: i32| Address { host: host.to_owned(), port: u16::try_from(port).unwrap_or(0) };
        self.brokers = nodes.map(|(id, host, port)| (id, address(host, port))).collect();
        let brokers = &self.brokers;
        self.connections.retain(|id, connection| brokers.get(id) == Some(connection.peer()));
    }

    /// The connection for questions that any broker can answer: first of those that the user named, and of those that the
    /// cluster named where none of them answers.
    fn any(&mut self) -> Result<&mut Connection, Error> {
        if self.any.is_none() {
            let known = self.brokers.values().filter(|address| !self.bootstrap.contains(address));
            let mut tried = Vec::new();
            let mut failure = None;
            for address in self.bootstrap.iter().chain(known) {
                match Connection::open(address, &self.options) {
                    Ok(connection) => {
                        self.any = Some(connection);
                        break;
                    }
                    Err(Error::Unreachable(failed)) => tried.extend(failed),
                    Err(other) => failure = Some(other),
                }
            }
            if self.any.is_none() {
                let has_no_address = |(_, error): &(Address, io::Error)| error.kind() == io::ErrorKind::NotFound;
                return Err(match failure {
                    Some(failure) => failure,
                    None if tried.iter().all(has_no_address) => {
                        Error::Unresolvable(tried.into_iter().map(|(address, _)| address).collect())
                    }
                    None => Error::Unreachable(tried),
                });
            }
        }
        Ok(self.any.as_mut().expect("it was there, or has been opened"))
    }

    fn keep_any<T>(&mut self, answer: Result<T, Error>) -> Result<T, Error> {
        if matches!(answer, Err(Error::Broken { .. } | Error::TimedOut { .. } | Error::Garbled { .. })) {
            self.any = None;
        }
        answer
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            client_id: "ottla".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
        }
    }
}

impl TopicDescription {
    /// The one of this name among topics that are in order, as [`Cluster::topics`] gives them.
    pub fn of_name<'t>(topics: &'t [Self], name: &str) -> Option<&'t Self> {
        topics.binary_search_by(|topic| topic.name.as_str().cmp(name)).ok().map(|place| &topics[place])
    }

    /// Its partition of this number.
    pub fn partition(&self, index: i32) -> Option<&PartitionDescription> {
        self.partitions
            .binary_search_by_key(&index, |partition| partition.index)
            .ok()
            .map(|place| &self.partitions[place])
    }

    fn of(topic: &ottla_protocol::messages::metadata_response::Topic<'_>) -> Self {
        let mut partitions: Vec<_> = topic
            .partitions
            .iter()
            .map(|partition| PartitionDescription {
                index: partition.partition_index,
                leader: (partition.leader_id >= 0).then_some(partition.leader_id),
                replicas: partition.replica_nodes.clone(),
                in_sync: partition.isr_nodes.clone(),
            })
            .collect();
        partitions.sort_by_key(|partition| partition.index);
        Self {
            name: topic.name.as_ref().map_or_else(String::new, |name: &Str<'_>| name.to_string()),
            id: topic.topic_id,
            is_internal: topic.is_internal,
            error: ErrorCode::from_code(topic.error_code).unwrap_or(ErrorCode::UnknownServerError),
            partitions,
        }
    }
}
