//! Listeners, sockets, connections and requests.

use ottla_metadata::settings::Check::{Any, AtLeast, OneOf, SomeItems};
use ottla_metadata::settings::Dynamic::{ClusterWide, PerBroker, ReadOnly};
use ottla_metadata::settings::Setting;

use super::{int, list, long, string};

pub(super) const SETTINGS: &[Setting] = &[
    list("listeners", Some("PLAINTEXT://:9092"), SomeItems, PerBroker)
        .doc("Where to listen, as NAME://host:port; no host means every interface."),
    list("advertised.listeners", None, SomeItems, ReadOnly)
        .doc("Where clients are told to connect, as NAME://host:port; listeners if not set."),
    string(
        "listener.security.protocol.map",
        Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"),
        Any,
        PerBroker,
    )
    .doc("The security protocol of each listener, as NAME:PROTOCOL."),
    string("inter.broker.listener.name", None, Any, ReadOnly).doc("The listener that brokers reach each other on."),
    string(
        "security.inter.broker.protocol",
        Some("PLAINTEXT"),
        OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
        ReadOnly,
    )
    .doc("The security protocol between brokers, where no listener is named for that."),
    int("socket.send.buffer.bytes", Some("102400"), Any, ReadOnly)
        .doc("The send buffer of a socket, in bytes; -1 leaves it to the operating system."),
    int("socket.receive.buffer.bytes", Some("102400"), Any, ReadOnly)
        .doc("The receive buffer of a socket, in bytes; -1 leaves it to the operating system."),
    int("socket.request.max.bytes", Some("104857600"), AtLeast(1), ReadOnly)
        .doc("The largest request that is read, in bytes."),
    int("socket.listen.backlog.size", Some("50"), AtLeast(1), ReadOnly)
        .doc("How many connections may wait to be accepted."),
    long("socket.connection.setup.timeout.ms", Some("10000"), Any, ReadOnly)
        .doc("How many milliseconds a connection to another node may take at first."),
    long("socket.connection.setup.timeout.max.ms", Some("30000"), Any, ReadOnly)
        .doc("The most milliseconds that a connection to another node may take after failures."),
    int("max.connections", Some("2147483647"), AtLeast(0), ClusterWide)
        .doc("How many connections the broker takes in all."),
    int("max.connections.per.ip", Some("2147483647"), AtLeast(0), ClusterWide)
        .doc("How many connections the broker takes from one address."),
    string("max.connections.per.ip.overrides", Some(""), Any, ClusterWide)
        .doc("Limits for single addresses, as address:count, separated by commas."),
    int("max.connection.creation.rate", Some("2147483647"), AtLeast(0), ClusterWide)
        .doc("How many connections a second are taken."),
    long("connections.max.idle.ms", Some("600000"), Any, ReadOnly)
        .doc("After so many milliseconds without a request a connection is closed."),
    int("connection.failed.authentication.delay.ms", Some("100"), AtLeast(0), ReadOnly)
        .doc("How many milliseconds a failed authentication is answered late."),
    long("connections.max.reauth.ms", Some("0"), Any, ReadOnly)
        .doc("After so many milliseconds a SASL client must authenticate again; 0 never."),
    int("num.network.threads", Some("3"), AtLeast(1), ClusterWide).doc("Threads that read requests and write answers."),
    int("num.io.threads", Some("8"), AtLeast(1), ClusterWide).doc("Threads that handle requests."),
    int("background.threads", Some("10"), AtLeast(1), ClusterWide).doc("Threads for work in the background."),
    int("queued.max.requests", Some("500"), AtLeast(1), ReadOnly)
        .doc("How many requests may wait for a thread before reading stops."),
    long("queued.max.request.bytes", Some("-1"), Any, ReadOnly)
        .doc("How many bytes of requests may wait for a thread; -1 is no limit."),
    int("request.timeout.ms", Some("30000"), Any, ReadOnly)
        .doc("How many milliseconds a request to another node may take."),
    int("max.request.partition.size.limit", Some("2000"), AtLeast(1), ReadOnly)
        .doc("The most partitions in one answer that describes topics."),
    int("max.incremental.fetch.session.cache.slots", Some("1000"), AtLeast(0), ReadOnly)
        .doc("How many fetch sessions are kept."),
    int("fetch.max.bytes", Some("57671680"), AtLeast(1024), ReadOnly).doc("The most bytes in the answer to one fetch."),
    int("fetch.purgatory.purge.interval.requests", Some("1000"), Any, ReadOnly)
        .doc("After so many fetches the finished ones are cleared out of the waiting room."),
    int("producer.purgatory.purge.interval.requests", Some("1000"), Any, ReadOnly)
        .doc("After so many produce requests the finished ones are cleared out of the waiting room."),
    int("delete.records.purgatory.purge.interval.requests", Some("1"), Any, ReadOnly)
        .doc("After so many record deletions the finished ones are cleared out of the waiting room."),
    int("share.fetch.purgatory.purge.interval.requests", Some("1000"), Any, ReadOnly)
        .doc("After so many share fetches the finished ones are cleared out of the waiting room."),
];
