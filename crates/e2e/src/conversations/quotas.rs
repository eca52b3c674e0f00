//! Quotas of users, clients and addresses; the credentials that users have.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_client_quotas_request::{self as alter, AlterClientQuotasRequest};
use ottla_protocol::messages::alter_client_quotas_response::AlterClientQuotasResponse;
use ottla_protocol::messages::describe_client_quotas_request::{Component, DescribeClientQuotasRequest};
use ottla_protocol::messages::describe_client_quotas_response::DescribeClientQuotasResponse;
use ottla_protocol::messages::describe_user_scram_credentials_request::{DescribeUserScramCredentialsRequest, User};
use ottla_protocol::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResponse;

use super::{Conversation, Session};
use crate::raw::body;

pub(super) const ALL: &[Conversation] = &[
    Conversation::new("client-quotas", quotas),
    Conversation::new("client-quotas-filters", filters),
    Conversation::new("user-scram-credentials", credentials),
];

type Entity<'a> = &'a [(&'a str, Option<&'a str>)];
/// A key, and its new value; none takes it away.
type Ops<'a> = &'a [(&'a str, Option<f64>)];

/// What parts of entities must be: a type, how it is matched, and with what.
type Filters<'a> = &'a [(&'a str, i8, Option<&'a str>)];

fn entry<'a>(entity: Entity<'a>, ops: Ops<'a>) -> alter::Entry<'a> {
    let part = |&(entity_type, entity_name): &(&'a str, Option<&'a str>)| alter::Entity {
        entity_type: entity_type.into(),
        entity_name: entity_name.map(Into::into),
    };
    let op = |&(key, value): &(&'a str, Option<f64>)| alter::Op {
        key: key.into(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    };
    alter::Entry { entity: entity.iter().map(part).collect(), ops: ops.iter().map(op).collect() }
}

fn change(session: &mut Session, what: &str, version: i16, entries: Vec<alter::Entry<'_>>, validate_only: bool) {
    let request = AlterClientQuotasRequest { entries, validate_only };
    let Some(answer) = session.ask(what, ApiKey::AlterClientQuotas, version, &request) else { return };
    let mut response: AlterClientQuotasResponse<'_> = body(&answer, ApiKey::AlterClientQuotas, version);
    for entry in &mut response.entries {
        entry.entity.sort_by(|a, b| a.entity_type.cmp(&b.entity_type));
    }
    response.entries.sort_by_key(|entry| format!("{:?}", entry.entity));
    session.note(&response);
}

/// Asks for what filters find, and writes it down in an order of its own.
fn describe(session: &mut Session, what: &str, version: i16, filters: Filters<'_>, strict: bool) {
    session.settle();
    let component = |&(entity_type, match_type, text): &(&str, i8, Option<&str>)| Component {
        entity_type: entity_type.to_owned().into(),
        match_type,
        r#match: text.map(|text| text.to_owned().into()),
    };
    let request = DescribeClientQuotasRequest { components: filters.iter().map(component).collect(), strict };
    let Some(answer) = session.ask(what, ApiKey::DescribeClientQuotas, version, &request) else { return };
    let mut response: DescribeClientQuotasResponse<'_> = body(&answer, ApiKey::DescribeClientQuotas, version);
    let entries = response.entries.as_mut().map(std::mem::take);
    session.note(&response);
    let mut lines = Vec::new();
    for mut entry in entries.unwrap_or_default() {
        entry.entity.sort_by(|a, b| a.entity_type.cmp(&b.entity_type));
        entry.values.sort_by(|a, b| a.key.cmp(&b.key));
        lines.push(format!("  {entry:?}"));
    }
    lines.sort();
    lines.iter().for_each(|line| session.line(line));
}

/// The key that most are asked about, and the user.
const PRODUCED: &str = "producer_byte_rate";
const A: Option<&str> = Some("a");

/// What is asked, of whom.
const CHANGES: &[(&str, Entity<'_>, Ops<'_>)] = &[
    ("a user", &[("user", A)], &[(PRODUCED, Some(1000.0))]),
    ("the same again", &[("user", A)], &[(PRODUCED, Some(1000.0))]),
    ("another value", &[("user", A)], &[(PRODUCED, Some(2000.0)), ("consumer_byte_rate", Some(3000.0))]),
    ("a percentage", &[("user", A)], &[("request_percentage", Some(12.5))]),
    ("mutations", &[("user", A)], &[("controller_mutation_rate", Some(0.5))]),
    ("one away", &[("user", A)], &[("request_percentage", None)]),
    ("one away that is not there", &[("user", A)], &[("request_percentage", None)]),
    ("an unknown one away", &[("user", A)], &[("no_such_rate", None)]),
    ("a client", &[("client-id", Some("c"))], &[(PRODUCED, Some(1.0))]),
    ("a client of a user", &[("client-id", Some("c")), ("user", A)], &[(PRODUCED, Some(2.0))]),
    ("any client of a user", &[("client-id", None), ("user", A)], &[(PRODUCED, Some(3.0))]),
    ("any client of any user", &[("client-id", None), ("user", None)], &[(PRODUCED, Some(4.0))]),
    ("any user", &[("user", None)], &[(PRODUCED, Some(5.0))]),
    ("an address", &[("ip", Some("127.0.0.7"))], &[("connection_creation_rate", Some(6.0))]),
    ("any address", &[("ip", None)], &[("connection_creation_rate", Some(7.0))]),
    ("an address of another family", &[("ip", Some("::1"))], &[("connection_creation_rate", Some(8.0))]),
    ("an address that is a name", &[("ip", Some("no.such.host.invalid"))], &[("connection_creation_rate", Some(6.0))]),
    ("an address with a rate of bytes", &[("ip", Some("127.0.0.7"))], &[(PRODUCED, Some(6.0))]),
    ("a user with a rate of connections", &[("user", A)], &[("connection_creation_rate", Some(6.0))]),
    ("an address and a user", &[("ip", Some("127.0.0.7")), ("user", A)], &[(PRODUCED, Some(6.0))]),
    ("an address and a client", &[("ip", Some("127.0.0.7")), ("client-id", A)], &[(PRODUCED, Some(6.0))]),
    ("an unknown type", &[("group", A)], &[(PRODUCED, Some(6.0))]),
    ("an empty type", &[("", A)], &[(PRODUCED, Some(6.0))]),
    ("an empty name", &[("user", Some(""))], &[(PRODUCED, Some(6.0))]),
    ("an empty client", &[("client-id", Some(""))], &[(PRODUCED, Some(6.0))]),
    ("an empty address", &[("ip", Some(""))], &[("connection_creation_rate", Some(6.0))]),
    ("a key twice, of any client", &[("client-id", None)], &[(PRODUCED, Some(8.0)), (PRODUCED, Some(9.0))]),
    ("nobody", &[], &[(PRODUCED, Some(6.0))]),
    ("a user twice", &[("user", A), ("user", Some("b"))], &[(PRODUCED, Some(6.0))]),
    ("an unknown key", &[("user", A)], &[("no_such_rate", Some(6.0))]),
    ("a fraction of a byte", &[("user", A)], &[(PRODUCED, Some(6.5))]),
    ("nothing at all", &[("user", A)], &[(PRODUCED, Some(0.0))]),
    ("less than nothing", &[("user", A)], &[(PRODUCED, Some(-1.0))]),
    ("a percentage of nothing", &[("user", A)], &[("request_percentage", Some(0.0))]),
    ("almost a byte", &[("user", A)], &[(PRODUCED, Some(6.000_000_1))]),
    ("too many bytes", &[("user", A)], &[(PRODUCED, Some(1e19))]),
    ("no number", &[("user", A)], &[(PRODUCED, Some(f64::NAN))]),
    ("without end", &[("user", A)], &[("request_percentage", Some(f64::INFINITY))]),
    ("too many connections", &[("ip", None)], &[("connection_creation_rate", Some(3e9))]),
    ("a key twice", &[("user", A)], &[(PRODUCED, Some(8.0)), (PRODUCED, Some(9.0))]),
    ("nothing to do", &[("user", A)], &[]),
];

fn quotas(session: &mut Session) {
    for (what, entity, ops) in CHANGES {
        change(session, what, 1, vec![entry(entity, ops)], false);
        describe(session, &format!("after: {what}"), 1, &[], false);
    }
    for version in 0..=1 {
        let ops: Ops<'_> = &[(PRODUCED, Some(77.0))];
        let good = || entry(&[("user", Some("b"))], ops);
        change(session, "only asked", version, vec![good()], true);
        change(session, "only asked, wrongly", version, vec![entry(&[("user", Some("b"))], &[("x", Some(1.0))])], true);
        change(session, "one good, one bad", version, vec![good(), entry(&[("group", A)], ops)], false);
        change(
            session,
            "one entity twice",
            version,
            vec![good(), entry(&[("user", Some("b"))], &[(PRODUCED, Some(78.0))])],
            false,
        );
        change(session, "nobody and nothing", version, vec![], false);
        describe(session, "after that", version, &[], false);
    }
    let away: Ops<'_> = &[
        (PRODUCED, None),
        ("consumer_byte_rate", None),
        ("request_percentage", None),
        ("controller_mutation_rate", None),
    ];
    let entities: &[Entity<'_>] = &[
        &[("user", A)],
        &[("user", Some("b"))],
        &[("user", None)],
        &[("client-id", Some("c"))],
        &[("client-id", Some("c")), ("user", A)],
        &[("client-id", None), ("user", A)],
        &[("client-id", None), ("user", None)],
    ];
    change(session, "all away", 1, entities.iter().map(|entity| entry(entity, away)).collect(), false);
    let addresses: &[Entity<'_>] = &[&[("ip", Some("127.0.0.7"))], &[("ip", None)], &[("ip", Some("::1"))]];
    let away: Ops<'_> = &[("connection_creation_rate", None)];
    change(session, "all addresses away", 1, addresses.iter().map(|entity| entry(entity, away)).collect(), false);
    describe(session, "all away", 1, &[], false);
}

fn filters(session: &mut Session) {
    const EXACT: i8 = 0;
    const DEFAULT: i8 = 1;
    const ANY: i8 = 2;
    let entities: &[Entity<'_>] = &[
        &[("user", Some("a"))],
        &[("user", Some("b"))],
        &[("user", None)],
        &[("client-id", Some("c"))],
        &[("client-id", None)],
        &[("client-id", Some("c")), ("user", Some("a"))],
        &[("client-id", None), ("user", Some("a"))],
        &[("client-id", None), ("user", None)],
    ];
    let addresses: &[Entity<'_>] = &[&[("ip", Some("127.0.0.9"))], &[("ip", None)]];
    let set = |session: &mut Session, what: &str, value: Option<f64>| {
        let (ops, rates) = ([("consumer_byte_rate", value)], [("connection_creation_rate", value)]);
        let entries = entities.iter().map(|entity| entry(entity, &ops));
        let entries = entries.chain(addresses.iter().map(|entity| entry(entity, &rates)));
        change(session, what, 1, entries.collect(), false);
    };
    set(session, "all", Some(10.0));
    let cases: &[(&str, Filters<'_>)] = &[
        ("everything", &[]),
        ("user a", &[("user", EXACT, Some("a"))]),
        ("any user", &[("user", ANY, None)]),
        ("the default user", &[("user", DEFAULT, None)]),
        ("client c", &[("client-id", EXACT, Some("c"))]),
        ("user a and client c", &[("user", EXACT, Some("a")), ("client-id", EXACT, Some("c"))]),
        ("user a and any client", &[("user", EXACT, Some("a")), ("client-id", ANY, None)]),
        ("any user and the default client", &[("user", ANY, None), ("client-id", DEFAULT, None)]),
        ("addresses", &[("ip", ANY, None)]),
        ("one address", &[("ip", EXACT, Some("127.0.0.9"))]),
        ("an address and a user", &[("ip", ANY, None), ("user", ANY, None)]),
        ("an address and a client", &[("ip", ANY, None), ("client-id", ANY, None)]),
        ("a user that is not there", &[("user", EXACT, Some("z"))]),
        ("an unknown type", &[("group", ANY, None)]),
        ("an empty type", &[("", ANY, None)]),
        ("a type twice", &[("user", ANY, None), ("user", EXACT, Some("a"))]),
        ("an unknown match", &[("user", 3, None)]),
        ("a match below 0", &[("user", -1, None)]),
        ("exactly nobody", &[("user", EXACT, None)]),
        ("exactly nothing", &[("user", EXACT, Some(""))]),
        ("the default, with a name", &[("user", DEFAULT, Some("a"))]),
        ("any, with a name", &[("user", ANY, Some("a"))]),
        ("any of an unknown type, with a name", &[("group", ANY, Some("a"))]),
        ("an unknown match of an unknown type", &[("group", 3, None)]),
        ("the default of an empty type, with a name", &[("", DEFAULT, Some("a"))]),
        ("a type twice, then with a name", &[("user", ANY, None), ("user", ANY, Some("a"))]),
    ];
    for version in 0..=1 {
        for strict in [false, true] {
            for (what, filters) in cases {
                describe(session, &format!("{what}, strict: {strict}"), version, filters, strict);
            }
        }
    }
    set(session, "all away", None);
}

/// Nobody has any.
fn credentials(session: &mut Session) {
    describe_users(session, "all", None);
    describe_users(session, "nobody in particular", Some(&[]));
    describe_users(session, "two that are not there", Some(&["bob", "alice"]));
    describe_users(session, "one twice", Some(&["bob", "bob"]));
    describe_users(session, "the empty name", Some(&[""]));
}

fn describe_users(session: &mut Session, what: &str, names: Option<&[&str]>) {
    let user = |&name: &&str| User { name: name.to_owned().into() };
    let request = DescribeUserScramCredentialsRequest { users: names.map(|names| names.iter().map(user).collect()) };
    let Some(answer) = session.ask(what, ApiKey::DescribeUserScramCredentials, 0, &request) else { return };
    let mut response: DescribeUserScramCredentialsResponse<'_> = body(&answer, ApiKey::DescribeUserScramCredentials, 0);
    for result in &mut response.results {
        result.credential_infos.sort_by_key(|info| info.mechanism);
    }
    response.results.sort_by(|a, b| a.user.cmp(&b.user));
    session.note(&response);
}
