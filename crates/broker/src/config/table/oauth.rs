//! SASL OAUTHBEARER.

use ottla_metadata::settings::Check::{Any, Between, Items, OneOfAnyCase};
use ottla_metadata::settings::Dynamic::ReadOnly;
use ottla_metadata::settings::Setting;

use super::{boolean, class, int, list, long, password, string};

pub(super) const SETTINGS: &[Setting] = &[
    boolean("sasl.oauthbearer.allow.unverified.audience", Some("false"), Any, ReadOnly)
        .doc("Whether tokens are taken though no expected audience is set."),
    boolean("sasl.oauthbearer.allow.unverified.issuer", Some("false"), Any, ReadOnly)
        .doc("Whether tokens are taken though no expected issuer is set."),
    string("sasl.oauthbearer.assertion.algorithm", Some("RS256"), OneOfAnyCase(&["ES256", "RS256"]), ReadOnly)
        .doc("The algorithm that an assertion is signed with."),
    string("sasl.oauthbearer.assertion.claim.aud", None, Any, ReadOnly).doc("The audience that an assertion names."),
    int("sasl.oauthbearer.assertion.claim.exp.seconds", Some("300"), Between(0, 86400), ReadOnly)
        .doc("How many seconds after its making an assertion ends."),
    string("sasl.oauthbearer.assertion.claim.iss", None, Any, ReadOnly).doc("The issuer that an assertion names."),
    boolean("sasl.oauthbearer.assertion.claim.jti.include", Some("false"), Any, ReadOnly)
        .doc("Whether an assertion has an id of its own."),
    int("sasl.oauthbearer.assertion.claim.nbf.seconds", Some("60"), Between(0, 3600), ReadOnly)
        .doc("How many seconds before its making an assertion begins."),
    string("sasl.oauthbearer.assertion.claim.sub", None, Any, ReadOnly).doc("The subject that an assertion names."),
    string("sasl.oauthbearer.assertion.file", None, Any, ReadOnly).doc("The file with a ready assertion."),
    string("sasl.oauthbearer.assertion.private.key.file", None, Any, ReadOnly)
        .doc("The file with the key that signs assertions."),
    password("sasl.oauthbearer.assertion.private.key.passphrase", None, Any, ReadOnly).doc("The password of that key."),
    string("sasl.oauthbearer.assertion.template.file", None, Any, ReadOnly)
        .doc("The file with fixed parts of assertions."),
    string("sasl.oauthbearer.client.credentials.client.id", None, Any, ReadOnly)
        .doc("The id that a client gets tokens with."),
    password("sasl.oauthbearer.client.credentials.client.secret", None, Any, ReadOnly)
        .doc("The secret that belongs to that id."),
    int("sasl.oauthbearer.clock.skew.seconds", Some("30"), Any, ReadOnly)
        .doc("How many seconds the clocks of issuer and broker may differ."),
    list("sasl.oauthbearer.expected.audience", Some(""), Items, ReadOnly).doc("The audiences that a token may name."),
    string("sasl.oauthbearer.expected.issuer", None, Any, ReadOnly).doc("The issuer that a token must name."),
    long("sasl.oauthbearer.jwks.endpoint.refresh.ms", Some("3600000"), Any, ReadOnly)
        .doc("How many milliseconds the issuer's keys are used before they are fetched again."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Some("100"), Any, ReadOnly)
        .doc("How many milliseconds pass before fetching the keys is tried again."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Some("10000"), Any, ReadOnly)
        .doc("The most milliseconds that such a pause grows to."),
    string("sasl.oauthbearer.jwks.endpoint.url", None, Any, ReadOnly).doc("Where the issuer's keys are."),
    class(
        "sasl.oauthbearer.jwt.retriever.class",
        Some("org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever"),
        Any,
        ReadOnly,
    )
    .doc("The plug-in that gets tokens."),
    class(
        "sasl.oauthbearer.jwt.validator.class",
        Some("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator"),
        Any,
        ReadOnly,
    )
    .doc("The plug-in that checks tokens."),
    string("sasl.oauthbearer.scope", None, Any, ReadOnly).doc("The scope that a client asks for."),
    string("sasl.oauthbearer.scope.claim.name", Some("scope"), Any, ReadOnly)
        .doc("The claim of a token that holds the scope."),
    string("sasl.oauthbearer.sub.claim.name", Some("sub"), Any, ReadOnly)
        .doc("The claim of a token that holds the user's name."),
    string("sasl.oauthbearer.token.endpoint.url", None, Any, ReadOnly).doc("Where tokens come from."),
];
