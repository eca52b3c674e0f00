use std::fmt::Write as _;

use expect_test::{Expect, expect};
use ottla_metadata::settings::topic::TopicSettings;
use ottla_metadata::settings::{ConfigEntry, ConfigSource};

use super::*;

/// The least that a file must say.
const LEAST: &str = "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://127.0.0.1:9092\n";

/// What the file that comes with Kafka sets for a node that is broker and controller.
const COMBINED: &str = "
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

fn load(text: &str) -> Result<(Config, Vec<Warning>), ConfigError> {
    Config::new(Written::from_text("server.properties", text)?)
}

/// Loads the least that a file must say and, from line 4 on, each of `additions` on its own.
fn check(additions: &[&str], expected: &Expect) {
    let mut seen = String::new();
    for addition in additions {
        match load(&format!("{LEAST}{addition}\n")) {
            Ok((_, warnings)) => {
                writeln!(seen, "ok").unwrap();
                warnings.iter().for_each(|warning| writeln!(seen, "   {warning}").unwrap());
            }
            Err(error) => writeln!(seen, "{error}").unwrap(),
        }
    }
    expected.assert_eq(&seen);
}

#[test]
fn a_bare_start_is_one_node_with_its_own_directory() {
    let (config, warnings) = Config::load(None, &[]).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.node_id, BrokerId(1));
    assert_eq!(config.log_dirs, [Path::new("/tmp/ottla-logs")]);
    assert_eq!(config.metadata_log_dir, Path::new("/tmp/ottla-logs"));
    let [listener] = config.listeners.broker.as_slice() else { panic!("{:?}", config.listeners) };
    assert_eq!((listener.name.as_str(), listener.host.as_str(), listener.port), ("PLAINTEXT", "", 9092));
    assert!(!listener.advertised_host.is_empty());
}

#[test]
fn the_file_that_comes_with_kafka_starts_unchanged() {
    let (config, warnings) = load(COMBINED).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.log_dirs, [Path::new("/tmp/kraft-combined-logs")]);
    expect![[r#"
        Listeners {
            broker: [
                Listener {
                    name: "PLAINTEXT",
                    host: "",
                    port: 9092,
                    protocol: Plaintext,
                    advertised_host: "localhost",
                    advertised_port: 9092,
                },
            ],
            controller: [
                Listener {
                    name: "CONTROLLER",
                    host: "",
                    port: 9093,
                    protocol: Plaintext,
                    advertised_host: "localhost",
                    advertised_port: 9093,
                },
            ],
            inter_broker: "PLAINTEXT",
        }
    "#]]
    .assert_debug_eq(&config.listeners);
}

#[test]
fn a_file_without_directories_has_kafka_s() {
    let (config, _) = load(LEAST).unwrap();
    assert_eq!(config.log_dirs, [Path::new("/tmp/kafka-logs")]);
    let (config, _) = load(&format!("{LEAST}log.dir=/a\nlog.dirs=/b, /c\nmetadata.log.dir=/d")).unwrap();
    assert_eq!(config.log_dirs, [Path::new("/b"), Path::new("/c")]);
    assert_eq!(config.metadata_log_dir, Path::new("/d"));
}

#[test]
fn errors_name_key_value_file_and_line() {
    check(
        &[
            "# a comment\n\nlog.retention.ms=abc",
            "log.segment.bytes = 5",
            "num.io.threads=0",
            "auto.create.topics.enable=yes",
            "compression.type=none",
            "listener.name.plaintext.max.connections=x",
            "log.dirs=",
            "log.dirs=/a,/b,/a/",
            "log.cleanup.policy=delete,,compact",
            "broker.rack=\\u00zz",
        ],
        &expect![[r#"
            server.properties line 6: log.retention.ms=abc: Not a number of type LONG
            server.properties line 4: log.segment.bytes=5: Value must be at least 1048576
            server.properties line 4: num.io.threads=0: Value must be at least 1
            server.properties line 4: auto.create.topics.enable=yes: Expected value to be either true or false
            server.properties line 4: compression.type=none: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer
            server.properties line 4: listener.name.plaintext.max.connections=x: Not a number of type INT
            server.properties line 4: log.dirs=: must not be empty. Valid values include: any non-empty value
            server.properties line 4: log.dirs=/a,/b,/a/: /a and /a/ are the same directory
            server.properties line 4: log.cleanup.policy=delete,,compact: values must not be empty.
            server.properties line 4: escape: a \u escape needs four hexadecimal digits that make a character
        "#]],
    );
}

#[test]
fn unknown_keys_warn() {
    check(
        &["log.retention.m=5", "some.plugin.key=5", "listener.name.x.max.conections=5", "=5"],
        &expect![[r#"
        ok
           server.properties line 4: unknown key log.retention.m (did you mean log.retention.ms?) is ignored
        ok
           server.properties line 4: unknown key some.plugin.key is ignored
        ok
           server.properties line 4: unknown key listener.name.x.max.conections is ignored
        ok
           server.properties line 4: unknown key "" is ignored
    "#]],
    );
}

#[test]
fn segments_that_no_topic_can_have_warn() {
    check(
        &["offsets.topic.segment.bytes=1048576", "offsets.topic.segment.bytes = 1048575"],
        &expect![[r#"
            ok
            ok
               server.properties line 4: offsets.topic.segment.bytes=1048575 is less than 1048576: groups will have no topic
        "#]],
    );
}

#[test]
fn a_node_needs_roles_and_an_id() {
    let mut seen = String::new();
    for text in [
        "",
        "process.roles=broker\nnode.id=1",
        "process.roles=controller\nnode.id=1",
        "process.roles=broker,controller",
        "process.roles=broker,controller\nnode.id=-1",
        "process.roles=broker,zookeeper\nnode.id=1",
        "process.roles=broker,controller\nnode.id=1\nbroker.id=2",
        "process.roles=broker,controller\nnode.id=1\nbroker.id=-1",
        "process.roles=broker,controller\nbroker.id=-1",
    ] {
        writeln!(seen, "{}", load(text).unwrap_err()).unwrap();
    }
    expect![[r#"
        process.roles: is not set; this version runs combined mode only: set process.roles=broker,controller
        server.properties line 1: process.roles=broker: this version runs combined mode only: set process.roles=broker,controller
        server.properties line 1: process.roles=controller: this version runs combined mode only: set process.roles=broker,controller
        node.id: is not set: every node needs a number of its own, 0 or above
        server.properties line 2: node.id=-1: Value must be at least 0
        server.properties line 1: process.roles=broker,zookeeper: String must be one of: broker, controller
        server.properties line 3: broker.id=2: must be the same as node.id, which is 1
        server.properties line 3: broker.id=-1: must be the same as node.id, which is 1
        server.properties line 2: node.id=-1: Value must be at least 0
    "#]].assert_eq(&seen);
}

#[test]
fn the_older_name_of_a_nodes_number_is_enough() {
    let older = LEAST.replace("node.id=1", "broker.id=7");
    let (config, _) = load(&format!("{older}controller.quorum.voters=7@localhost:9093\n")).unwrap();
    assert_eq!(config.node_id, BrokerId(7));
}

#[test]
fn listeners_must_make_sense() {
    check(
        &[
            "listeners=PLAINTEXT://:0",
            "listeners=PLAINTEXT://:70000",
            "listeners=PLAINTEXT:9092",
            "listeners=",
            "listeners=PLAINTEXT://:9092,plaintext://:9093",
            "listeners=PLAINTEXT://:9092,B://:9092",
            "listeners=PLAINTEXT://127.0.0.1:9092,B://[::1]:9092\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,B:PLAINTEXT",
            "listeners=PLAINTEXT://127.0.0.1:9092,B://127.0.0.1:9093",
            "listeners=PLAINTEXT://0.0.0.0:9092",
            "listeners=PLAINTEXT://0.0.0.0:9092\nadvertised.listeners=PLAINTEXT://a:1",
            "advertised.listeners=PLAINTEXT://0.0.0.0:9092",
            "advertised.listeners=PLAINTEXT://:9092",
            "advertised.listeners=OTHER://a:9092",
            "controller.listener.names=CONTROLLER",
            "controller.listener.names=plaintext",
            "listeners=PLAINTEXT://127.0.0.1:9092,C://127.0.0.1:9093\ncontroller.listener.names=C",
            "listeners=PLAINTEXT://127.0.0.1:1,C://127.0.0.1:2\ncontroller.listener.names=C\nadvertised.listeners=C://x:2",
            "listener.security.protocol.map=PLAINTEXT:PLAIN",
            "inter.broker.listener.name=OTHER",
            "inter.broker.listener.name=plaintext",
            "inter.broker.listener.name=PLAINTEXT\nsecurity.inter.broker.protocol=PLAINTEXT",
            "listeners=EXTERNAL://127.0.0.1:9092\nlistener.security.protocol.map=EXTERNAL:PLAINTEXT",
        ],
        &expect![[r#"
            ok
            server.properties line 4: listeners=PLAINTEXT://:70000: the port of PLAINTEXT://:70000 is too large: at most 65535
            server.properties line 4: listeners=PLAINTEXT:9092: PLAINTEXT:9092 is not of the form NAME://host:port
            server.properties line 4: listeners=: must not be empty. Valid values include: any non-empty value
            server.properties line 4: listeners=PLAINTEXT://:9092,plaintext://:9093: the listener PLAINTEXT is there twice
            server.properties line 4: listeners=PLAINTEXT://:9092,B://:9092: PLAINTEXT and B have the same port 9092
            ok
            server.properties line 4: listeners=PLAINTEXT://127.0.0.1:9092,B://127.0.0.1:9093: listener.security.protocol.map has no protocol for the listener B
            server.properties line 4: listeners=PLAINTEXT://0.0.0.0:9092: clients cannot connect to 0.0.0.0: set advertised.listeners for PLAINTEXT
            ok
            server.properties line 4: advertised.listeners=PLAINTEXT://0.0.0.0:9092: PLAINTEXT needs a host that clients can connect to, not 0.0.0.0
            ok
            server.properties line 4: advertised.listeners=OTHER://a:9092: listeners has no OTHER
            server.properties line 4: controller.listener.names=CONTROLLER: listeners has no CONTROLLER, which a node that is a controller must listen on
            server.properties line 3: listeners=PLAINTEXT://127.0.0.1:9092: there is no listener for clients, only for controllers
            ok
            server.properties line 6: advertised.listeners=C://x:2: there is no listener for clients, only for controllers
            server.properties line 4: listener.security.protocol.map=PLAINTEXT:PLAIN: PLAINTEXT:PLAIN is not of the form NAME:PROTOCOL with PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL
            server.properties line 4: inter.broker.listener.name=OTHER: there is no listener OTHER for brokers; inter.broker.listener.name may name another
            ok
            server.properties line 5: security.inter.broker.protocol=PLAINTEXT: set this or inter.broker.listener.name, not both
            server.properties line 4: listeners=EXTERNAL://127.0.0.1:9092: there is no listener PLAINTEXT for brokers; inter.broker.listener.name may name another
        "#]],
    );
}

#[test]
fn what_this_version_lacks_is_refused_where_it_matters() {
    check(
        &[
            "listeners=SSL://127.0.0.1:9093",
            "listeners=PLAINTEXT://127.0.0.1:9092,S://127.0.0.1:9093\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,S:SASL_SSL",
            "ssl.keystore.location=/a\nssl.keystore.password=secret",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "config.providers=env",
            "remote.log.storage.system.enable=true",
            "group.coordinator.rebalance.protocols=consumer",
            "early.start.listeners=NONE",
            "controller.quorum.voters=1@localhost:9093",
            "controller.quorum.voters=2@localhost:9093",
            "controller.quorum.voters=1@a:9093,2@b:9093",
            "controller.quorum.voters=1@a",
            "controller.quorum.bootstrap.servers=a",
            "controller.quorum.bootstrap.servers=a:1,b:1",
        ],
        &expect![[r#"
            server.properties line 4: listeners=SSL://127.0.0.1:9093: the listener SSL speaks SSL; this version speaks PLAINTEXT only, TLS and SASL come later
            server.properties line 4: listeners=PLAINTEXT://127.0.0.1:9092,S://127.0.0.1:9093: the listener S speaks SASL_SSL; this version speaks PLAINTEXT only, TLS and SASL come later
            ok
            server.properties line 4: authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer: this version has no authorisation yet; it would let everybody in
            server.properties line 4: config.providers=env: this version has no config providers yet; it would take ${...} literally
            server.properties line 4: remote.log.storage.system.enable=true: this version has no remote storage yet
            server.properties line 4: group.coordinator.rebalance.protocols=consumer: must have classic among them
            server.properties line 4: early.start.listeners=NONE: listeners has no NONE
            ok
            server.properties line 4: controller.quorum.voters=2@localhost:9093: the only voter must be this node, whose node.id is 1
            server.properties line 4: controller.quorum.voters=1@a:9093,2@b:9093: this version runs one node only; a quorum of several comes later
            server.properties line 4: controller.quorum.voters=1@a: 1@a is not of the form id@host:port
            server.properties line 4: controller.quorum.bootstrap.servers=a: a is not of the form host:port
            server.properties line 4: controller.quorum.bootstrap.servers=a:1,b:1: this version runs one node only; a quorum of several comes later
        "#]],
    );
}

#[test]
fn directories_are_cordoned_that_are_there() {
    check(
        &[
            "cordoned.log.dirs=*",
            "cordoned.log.dirs=",
            "log.dirs=/a,/b\ncordoned.log.dirs=/b , /a",
            "log.dirs=/a,/b\ncordoned.log.dirs=/b,/c,/a/",
            "log.dirs=/a,/b\ncordoned.log.dirs=*,/a",
            "log.dirs=/a,/b\ncordoned.log.dirs=/a,",
            "log.dir=/a\ncordoned.log.dirs=/a",
            "log.dirs=/a\nlog.dir=/b\ncordoned.log.dirs=/b",
        ],
        &expect![[r#"
            ok
            ok
            ok
            server.properties line 5: cordoned.log.dirs=/b,/c,/a/: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : /c, /a/
            server.properties line 5: cordoned.log.dirs=*,/a: When cordoned.log.dirs is set to *, it must not contain other values
            server.properties line 5: cordoned.log.dirs=/a,: values must not be empty.
            ok
            server.properties line 6: cordoned.log.dirs=/b: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : /b
        "#]],
    );
    let cordoned = |own: &[(&str, &str)]| {
        let (config, _) = load(&format!("{LEAST}log.dirs=/a,/b\ncordoned.log.dirs=/a\n")).unwrap();
        config.running.take_over(&config.values(&map(own), &BTreeMap::new())).cordoned_log_dirs.clone()
    };
    assert_eq!(cordoned(&[]), [Path::new("/a")]);
    assert_eq!(cordoned(&[("cordoned.log.dirs", "/b")]), [Path::new("/b")]);
    assert_eq!(cordoned(&[("cordoned.log.dirs", "*")]), [Path::new("/a"), Path::new("/b")]);
    assert!(cordoned(&[("cordoned.log.dirs", "")]).is_empty());
}

#[test]
fn values_must_go_together() {
    check(
        &[
            "replica.fetch.wait.max.ms=40000",
            "replica.lag.time.max.ms=400",
            "group.min.session.timeout.ms=2000000",
            "group.consumer.heartbeat.interval.ms=4000",
            "group.share.max.heartbeat.interval.ms=90000\ngroup.share.heartbeat.interval.ms=50000",
            "log.retention.hours=0",
            "log.retention.ms=-1",
            "log.retention.hours=0\nlog.retention.ms=5",
            "log.roll.ms=0",
            "log.cleaner.threads=128",
            "queued.max.request.bytes=5",
            "max.connections.per.ip=0",
            "max.connections.per.ip=0\nmax.connections.per.ip.overrides=127.0.0.1:5",
            "max.connections.per.ip.overrides=a:b",
            "connections.max.idle.ms=50",
            "connections.max.idle.ms=-1",
        ],
        &expect![[r#"
            server.properties line 4: replica.fetch.wait.max.ms=40000: replica.fetch.wait.max.ms (40000) must not be greater than replica.socket.timeout.ms (30000)
            server.properties line 4: replica.lag.time.max.ms=400: replica.fetch.wait.max.ms (500) must not be greater than replica.lag.time.max.ms (400)
            server.properties line 4: group.min.session.timeout.ms=2000000: group.min.session.timeout.ms (2000000) must not be greater than group.max.session.timeout.ms (1800000)
            server.properties line 4: group.consumer.heartbeat.interval.ms=4000: group.consumer.min.heartbeat.interval.ms (5000) must not be greater than group.consumer.heartbeat.interval.ms (4000)
            server.properties line 5: group.share.heartbeat.interval.ms=50000: group.share.heartbeat.interval.ms (50000) must be smaller than group.share.session.timeout.ms (45000)
            server.properties line 4: log.retention.hours=0: must be 1 or more, or -1 for no limit
            ok
            ok
            server.properties line 4: log.roll.ms=0: must be 1 or more
            server.properties line 4: log.cleaner.threads=128: log.cleaner.dedupe.buffer.size must be more than 1048576 bytes for each of log.cleaner.threads
            server.properties line 4: queued.max.request.bytes=5: must not be smaller than socket.request.max.bytes
            server.properties line 4: max.connections.per.ip=0: 0 lets nobody in, unless max.connections.per.ip.overrides does
            ok
            server.properties line 4: max.connections.per.ip.overrides=a:b: a:b is not of the form host:count
            server.properties line 4: connections.max.idle.ms=50: connection.failed.authentication.delay.ms must be smaller than connections.max.idle.ms
            ok
        "#]],
    );
}

#[test]
fn secrets_are_not_told() {
    let secret = "ssl.keystore.password=hunter2";
    let written = Written::from_text("f", secret).unwrap();
    assert_eq!(
        written.error("ssl.keystore.password", "is wrong").to_string(),
        "f line 1: ssl.keystore.password: is wrong"
    );
    assert!(!load(&format!("{LEAST}my.passwort=hunter2")).unwrap().1[0].to_string().contains("hunter2"));
}

#[test]
fn overrides_win_over_the_file_and_later_lines_over_earlier() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.properties");
    std::fs::write(&file, format!("{LEAST}num.partitions=2\nnum.partitions=3\nfetch.max.bytes=2000")).unwrap();
    let load = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        Config::load(Some(&file), &overrides)
    };
    let (config, _) = load(&["fetch.max.bytes=4000", "node.id=7"]).unwrap();
    assert_eq!((config.num_partitions, config.fetch_max_bytes, config.node_id), (3, 4000, BrokerId(7)));
    let say = |overrides| load(overrides).unwrap_err().to_string();
    assert_eq!(say(&["num.partitions=x"]), "--override: num.partitions=x: Not a number of type INT");
    assert_eq!(say(&["num.partitions"]), "--override: num.partitions: expected key=value");
    std::fs::write(&file, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(say(&[]).ends_with("has more than 1048576 bytes: this is no properties file"));
    std::fs::remove_file(&file).unwrap();
    assert!(say(&[]).contains("server.properties: cannot be opened: "));
}

#[test]
fn addresses_have_their_own_limit_on_connections() {
    let (config, _) =
        load(&format!("{LEAST}max.connections.per.ip=9\nmax.connections.per.ip.overrides=127.0.0.1:5, [::1]:6"))
            .unwrap();
    let limit = |address: &str| config.running.get().max_connections_from(address.parse().unwrap());
    assert_eq!([limit("127.0.0.1"), limit("::ffff:127.0.0.1"), limit("::1"), limit("127.0.0.2")], [5, 5, 6, 9]);
}

#[test]
fn limits_of_hosts_that_are_named_act_when_their_addresses_are_found() {
    let (config, _) = load(LEAST).unwrap();
    let limit = |address: &str| config.running.get().max_connections_from(address.parse().unwrap());
    let set = |text: &str| {
        config.running.take_over(&config.values(&map(&[("max.connections.per.ip.overrides", text)]), &map(&[])));
    };
    let found = |host, addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        config.running.take_over_addresses(host, addresses);
    };
    set("one.example:5,192.0.2.9:3,two.example:6");
    assert_eq!(config.running.named_hosts(), ["one.example", "two.example"]);
    assert_eq!([limit("192.0.2.1"), limit("192.0.2.9")], [2_147_483_647, 3]);
    found("one.example", &["192.0.2.1", "::ffff:192.0.2.2"]);
    assert_eq!([limit("192.0.2.1"), limit("192.0.2.2")], [5, 5]);
    set("one.example:4");
    found("two.example", &["192.0.2.3"]);
    assert_eq!([limit("192.0.2.1"), limit("192.0.2.3")], [4, 2_147_483_647], "it has no limit any more");
}

#[test]
fn negative_numbers_mean_never_or_leave_it_to_the_system() {
    let text = "connections.max.idle.ms=-1\nsocket.send.buffer.bytes=-1\nmetadata.log.max.snapshot.interval.ms=0";
    let (config, _) = load(&format!("{LEAST}{text}")).unwrap();
    assert_eq!(config.connections_max_idle, NEVER);
    assert_eq!(config.socket_send_buffer_bytes, None);
    assert_eq!(config.metadata_log_max_snapshot_interval, None);
    assert_eq!(config.log_flush_scheduler_interval, NEVER);
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn show(entries: &[ConfigEntry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let rw = if entry.read_only { "read-only" } else { "writable" };
        let secret = if entry.sensitive { " sensitive" } else { "" };
        let value = entry.value.as_deref().map_or("null".to_owned(), |value| format!("{value:?}"));
        writeln!(text, "{} = {value} {:?} {:?} {rw}{secret}", entry.name, entry.kind, entry.source).unwrap();
        for synonym in &entry.synonyms {
            let value = synonym.value.as_deref().map_or("null".to_owned(), |value| format!("{value:?}"));
            writeln!(text, "    {:?} {} = {value}", synonym.source, synonym.name).unwrap();
        }
    }
    text
}

/// The same file and the same dynamic values were given to a real Kafka 4.4.0, which told exactly this.
#[test]
fn a_broker_is_described_as_kafka_describes_it() {
    let file = format!(
        "{LEAST}log.retention.hours=100\nlog.flush.scheduler.interval.ms=5000\nlog.roll.hours=3\nunknown.key=5\n\
         ssl.keystore.password=secret\nlog.initial.task.delay.ms=500\nlistener.name.plaintext.max.connections=77\n\
         listener.name.plaintext.ssl.key.password=x\nlog.cleaner.io.max.bytes.per.second=1000000\n\
         log.segment.bytes= 2097152 \nmetric.reporters="
    );
    let (config, _) = load(&file).unwrap();
    let own = map(&[
        ("log.retention.ms", "7200000"),
        ("listener.name.plaintext.max.connections", "100"),
        ("some.custom", "x"),
        ("log.cleanup.policy", " compact , delete "),
    ]);
    let cluster = map(&[
        ("log.retention.ms", "3600000"),
        ("log.segment.bytes", "3097152"),
        ("other.custom", "x"),
        ("log.flush.interval.ms", "3"),
        ("min.insync.replicas", "2"),
    ]);
    let values = config.values(&own, &cluster);
    let told = |entry: &ConfigEntry| {
        entry.source != ConfigSource::Default || ["log.retention.minutes", "broker.rack"].contains(&entry.name.as_str())
    };
    let entries = values.describe_broker(|_| true);
    let internal = table::all().filter(|row| row.internal).count();
    assert_eq!(entries.len(), table::all().count() - internal + 6, "and six keys that were set");
    let entries: Vec<ConfigEntry> = entries.into_iter().filter(told).collect();
    expect![[r#"
        broker.id = "1" Int StaticBroker read-only
            StaticBroker broker.id = "1"
            Default broker.id = "-1"
        broker.rack = null String Default read-only
        listener.name.plaintext.max.connections = "100" Int DynamicBroker read-only
            DynamicBroker listener.name.plaintext.max.connections = "100"
            StaticBroker listener.name.plaintext.max.connections = "77"
            Default max.connections = "2147483647"
        listener.name.plaintext.ssl.key.password = null Password StaticBroker read-only sensitive
            StaticBroker listener.name.plaintext.ssl.key.password = null
        listeners = "PLAINTEXT://127.0.0.1:9092" List StaticBroker writable
            StaticBroker listeners = "PLAINTEXT://127.0.0.1:9092"
            Default listeners = "PLAINTEXT://:9092"
        log.cleaner.io.max.bytes.per.second = "1000000.0" Double StaticBroker writable
            StaticBroker log.cleaner.io.max.bytes.per.second = "1000000"
            Default log.cleaner.io.max.bytes.per.second = "1.7976931348623157E308"
        log.cleanup.policy = "compact,delete" List DynamicBroker writable
            DynamicBroker log.cleanup.policy = " compact , delete "
            Default log.cleanup.policy = "delete"
        log.flush.interval.ms = "3" Long DynamicDefaultBroker writable
            DynamicDefaultBroker log.flush.interval.ms = "3"
            StaticBroker log.flush.scheduler.interval.ms = "5000"
            Default log.flush.scheduler.interval.ms = "9223372036854775807"
        log.flush.scheduler.interval.ms = "9223372036854775807" Long StaticBroker read-only
            StaticBroker log.flush.scheduler.interval.ms = "5000"
            Default log.flush.scheduler.interval.ms = "9223372036854775807"
        log.initial.task.delay.ms = "500" Long StaticBroker read-only
            StaticBroker log.initial.task.delay.ms = "500"
            Default log.initial.task.delay.ms = "30000"
        log.retention.hours = "168" Int StaticBroker read-only
            StaticBroker log.retention.hours = "100"
            Default log.retention.hours = "168"
        log.retention.minutes = null Int Default read-only
        log.retention.ms = "7200000" Long DynamicBroker writable
            DynamicBroker log.retention.ms = "7200000"
            DynamicDefaultBroker log.retention.ms = "3600000"
            StaticBroker log.retention.hours = "100"
            Default log.retention.hours = "168"
        log.roll.hours = "3" Int StaticBroker read-only
            StaticBroker log.roll.hours = "3"
            Default log.roll.hours = "168"
        log.segment.bytes = "3097152" Int DynamicDefaultBroker writable
            DynamicDefaultBroker log.segment.bytes = "3097152"
            StaticBroker log.segment.bytes = "2097152 "
            Default log.segment.bytes = "1073741824"
        metric.reporters = "" List StaticBroker writable
            StaticBroker metric.reporters = ""
            Default metric.reporters = "org.apache.kafka.common.metrics.JmxReporter"
        min.insync.replicas = "2" Int DynamicDefaultBroker writable
            DynamicDefaultBroker min.insync.replicas = "2"
            Default min.insync.replicas = "1"
        node.id = "1" Int StaticBroker read-only
            StaticBroker node.id = "1"
        other.custom = null Unknown DynamicDefaultBroker read-only sensitive
            DynamicDefaultBroker other.custom = null
        process.roles = "broker,controller" List StaticBroker read-only
            StaticBroker process.roles = "broker,controller"
        some.custom = null Unknown DynamicBroker read-only sensitive
            DynamicBroker some.custom = null
        ssl.keystore.password = null Password StaticBroker writable sensitive
            StaticBroker ssl.keystore.password = null
        unknown.key = null Unknown StaticBroker read-only sensitive
            StaticBroker unknown.key = null
    "#]]
    .assert_eq(&show(&entries));
    expect![[r#"
        log.flush.interval.ms = "3" Long DynamicDefaultBroker writable
            DynamicDefaultBroker log.flush.interval.ms = "3"
        log.retention.ms = "3600000" Long DynamicDefaultBroker writable
            DynamicDefaultBroker log.retention.ms = "3600000"
        log.segment.bytes = "3097152" Int DynamicDefaultBroker writable
            DynamicDefaultBroker log.segment.bytes = "3097152"
        min.insync.replicas = "2" Int DynamicDefaultBroker writable
            DynamicDefaultBroker min.insync.replicas = "2"
        other.custom = null Unknown DynamicDefaultBroker read-only sensitive
            DynamicDefaultBroker other.custom = null
    "#]]
    .assert_eq(&show(&values.describe_cluster(|_| true)));
}

#[test]
fn topics_take_the_broker_s_values() {
    let (config, _) =
        load(&format!("{LEAST}log.retention.minutes=2\nlog.retention.hours=5\nmessage.max.bytes=77")).unwrap();
    let nothing = BTreeMap::new();
    let settings = TopicSettings::new(&nothing, &config.values(&nothing, &nothing));
    assert_eq!((settings.retention_ms, settings.max_message_bytes), (Some(120_000), 77));
}

/// Whether a broker, of which nothing was set while it runs, can be given these settings.
fn dynamic_change(pairs: &[(&str, &str)], for_all: bool) -> Result<(), String> {
    let (config, _) = load(&format!("{LEAST}log.retention.hours=2\nnum.io.threads=4\n")).unwrap();
    let (keys, after): (Vec<&str>, _) = (pairs.iter().map(|(key, _)| *key).collect(), map(pairs));
    let change = dynamic::Change { keys: &keys, after: &after, for_all };
    dynamic::check(&config, &BTreeMap::new(), &BTreeMap::new(), change)
}

#[test]
fn a_running_broker_takes_what_it_can_take() {
    for pairs in [
        &[("num.io.threads", "8")][..],
        &[("max.connections.per.ip", "0"), ("max.connections.per.ip.overrides", "127.0.0.1:5")],
        &[("listener.name.plaintext.max.connections", "5")],
        &[("listener.name.other.max.connections", "0")],
        &[("log.local.retention.ms", "7200000")],
        &[("leader.replication.throttled.rate", "0")],
        &[("my.own.key", "x")],
        &[],
    ] {
        assert_eq!(dynamic_change(pairs, false), Ok(()), "{pairs:?}");
        assert_eq!(dynamic_change(pairs, true), Ok(()), "{pairs:?}");
    }
    assert_eq!(dynamic_change(&[("listener.name.plaintext.ssl.client.auth", "required")], false), Ok(()));
}

#[test]
fn a_running_broker_refuses_the_rest_in_kafkas_words() {
    let mut refused = String::new();
    for (pairs, for_all) in [
        (&[("num.partitions", "5"), ("node.id", "7")][..], false),
        (&[("ssl.keystore.location", "/x")], false),
        (&[("listeners", "PLAINTEXT://:1")], true),
        (&[("listener.name.plaintext.ssl.client.auth", "required")], true),
        (&[("listener.name.plaintext.max.connections", "x")], false),
        (&[("max.connections", "0")], false),
        (&[("max.connections", "0")], true),
        (&[("listener.name.plaintext.max.connections", "0")], false),
        (&[("max.connection.creation.rate", "0")], true),
        (&[("num.io.threads", "9")], false),
        (&[("num.io.threads", "1")], false),
        (&[("log.cleaner.threads", "3")], true),
        (&[("log.local.retention.ms", "7200001")], false),
        (&[("log.retention.ms", "0")], false),
        (&[("max.connections.per.ip", "0")], false),
        (&[("metric.reporters", "a.B")], false),
        (&[("cordoned.log.dirs", "/none,/tmp/kafka-logs,/neither")], false),
        (&[("cordoned.log.dirs", "*,/tmp/kafka-logs")], false),
        (&[("cordoned.log.dirs", "/tmp/kafka-logs,")], false),
        (&[("cordoned.log.dirs", "/tmp/kafka-logs, /tmp/kafka-logs")], false),
        (&[("log.cleanup.policy", "delete,delete")], true),
        (&[("cordoned.log.dirs", "/tmp/kafka-logs")], true),
    ] {
        writeln!(refused, "{}", dynamic_change(pairs, for_all).unwrap_err()).unwrap();
    }
    expect![[r#"
        Cannot update these configs dynamically: [num.partitions, node.id]
        These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.location]
        Cannot update these configs at default cluster level, broker id must be specified: [listeners]
        Cannot update these configs at default cluster level, broker id must be specified: [listener.name.plaintext.ssl.client.auth]
        Invalid value x for configuration max.connections: Not a number of type INT
        Invalid value org.apache.kafka.common.config.ConfigException: Invalid max.connections 0 for configuration Invalid dynamic configuration
        Invalid value org.apache.kafka.common.config.ConfigException: Invalid max.connections 0 for configuration Invalid dynamic configuration
        Invalid value org.apache.kafka.common.config.ConfigException: Invalid max.connections 0 for configuration Invalid dynamic configuration
        Invalid value org.apache.kafka.common.config.ConfigException: Invalid max.connection.creation.rate 0 for configuration Invalid dynamic configuration
        Invalid value org.apache.kafka.common.config.ConfigException: Dynamic thread count update validation failed for num.io.threads=9, value should not be greater than double the current value 4 for configuration Invalid dynamic configuration
        Invalid value org.apache.kafka.common.config.ConfigException: Dynamic thread count update validation failed for num.io.threads=1, value should be at least half the current value 4 for configuration Invalid dynamic configuration
        Invalid value org.apache.kafka.common.config.ConfigException: Log cleaner threads cannot be increased to more than double the current value 1 for configuration Invalid dynamic configuration
        Invalid value org.apache.kafka.common.config.ConfigException: Invalid value 7200001 for configuration log.local.retention.ms: Value must not be more than log.retention.ms property value: 7200000 for configuration Invalid dynamic configuration
        requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1
        requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.
        Invalid value org.apache.kafka.common.config.ConfigException: Validation of dynamic config update of Set(metric.reporters) failed with class class kafka.server.DynamicMetricsReporters for configuration Invalid dynamic configuration
        requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : /none, /neither
        requirement failed: When cordoned.log.dirs is set to *, it must not contain other values
        Configuration 'cordoned.log.dirs' values must not be empty.
        Configuration 'cordoned.log.dirs' values must not be duplicated.
        Configuration 'log.cleanup.policy' values must not be duplicated.
        Cannot update these configs at default cluster level, broker id must be specified: [cordoned.log.dirs]
    "#]]
    .assert_eq(&refused);
}

#[test]
fn what_is_set_while_it_runs_goes_before_the_file_unless_it_does_not_pass() {
    let (config, _) = load(&format!("{LEAST}max.connections=7\nmax.connections.per.ip=6\n")).unwrap();
    let (own, cluster) =
        (map(&[("max.connections", "5")]), map(&[("max.connections", "4"), ("max.connections.per.ip", "x")]));
    let running = config.running.take_over(&config.values(&own, &cluster));
    assert_eq!((running.max_connections, running.max_connections_per_ip), (5, 6));
    assert_eq!(config.running.get(), running);
    let running = config.running.take_over(&config.values(&BTreeMap::new(), &BTreeMap::new()));
    assert_eq!(running.max_connections, 7);
}

#[test]
fn what_holds_for_one_listener_goes_before_what_holds_for_all() {
    let text = "max.connections=7\nlistener.name.plaintext.max.connection.creation.rate=6\n";
    let (config, _) = load(&format!("{LEAST}{text}")).unwrap();
    let limits = |own: &[(&str, &str)]| {
        let running = config.running.take_over(&config.values(&map(own), &BTreeMap::new()));
        let of_listener = running.of_listener("PLAINTEXT");
        (of_listener.max_connections, of_listener.max_connection_creation_rate)
    };
    assert_eq!(limits(&[]), (7, 6));
    assert_eq!(limits(&[("max.connection.creation.rate", "5"), ("max.connections", "4")]), (4, 6));
    assert_eq!(limits(&[("listener.name.plaintext.max.connections", "3")]), (3, 6));
    assert_eq!(limits(&[("listener.name.plaintext.max.connection.creation.rate", "0")]), (7, 6), "it keeps nobody out");
}

#[test]
fn a_limit_of_no_connections_that_another_program_has_set_keeps_nobody_out() {
    let (config, _) = load(&format!("{LEAST}max.connections=7\n")).unwrap();
    let running = config.running.take_over(&config.values(&map(&[("max.connections", "0")]), &BTreeMap::new()));
    assert_eq!(running.max_connections, 7);
    let (config, _) = load(LEAST).unwrap();
    let running = config.running.take_over(&config.values(&BTreeMap::new(), &map(&[("max.connections", "0")])));
    assert_eq!(running.max_connections, 2_147_483_647);
}

#[test]
fn what_compacts_logs_may_change_while_it_runs() {
    let limited = format!("{LEAST}log.cleaner.backoff.ms=7\nlog.cleaner.io.max.bytes.per.second=1e6\n");
    let (config, _) = load(&limited).unwrap();
    let cleaner = config.running.get().cleaner;
    assert_eq!((cleaner.threads, cleaner.backoff.as_millis(), cleaner.io_max_bytes_per_s), (1, 7, 1e6));
    assert_eq!(
        (cleaner.dedupe_buffer_bytes, cleaner.io_buffer_bytes, cleaner.load_factor),
        (128 << 20, 512 << 10, 0.9)
    );
    let cluster = map(&[("log.cleaner.threads", "2"), ("log.cleaner.dedupe.buffer.size", "4194304")]);
    let cleaner = config.running.take_over(&config.values(&BTreeMap::new(), &cluster)).cleaner;
    assert_eq!((cleaner.threads, cleaner.dedupe_buffer_bytes), (2, 4 << 20));
    let (config, _) = load(&format!("{LEAST}log.cleaner.enable=false\n")).unwrap();
    assert_eq!(config.running.get().cleaner.threads, 0, "nothing is compacted");
}
