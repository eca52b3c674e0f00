//! TLS, SASL, delegation tokens and authorisation.

use ottla_metadata::settings::Check::{Any, AtLeast, Items, OneOf};
use ottla_metadata::settings::Dynamic::{PerBroker, ReadOnly};
use ottla_metadata::settings::Setting;

use super::{boolean, class, double, int, list, long, password, short, string};

pub(super) const SETTINGS: &[Setting] = &[
    string("authorizer.class.name", Some(""), Any, ReadOnly)
        .doc("The plug-in that decides who may do what; none if empty."),
    class(
        "principal.builder.class",
        Some("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"),
        Any,
        PerBroker,
    )
    .doc("The plug-in that names whoever connects."),
    string("security.providers", None, Any, ReadOnly).doc("Plug-ins of the Java security architecture."),
    password("delegation.token.secret.key", None, Any, ReadOnly)
        .doc("The secret that delegation tokens are made with; the same on every node."),
    long("delegation.token.max.lifetime.ms", Some("604800000"), AtLeast(1), ReadOnly)
        .doc("How many milliseconds a token lives at the most."),
    long("delegation.token.expiry.time.ms", Some("86400000"), AtLeast(1), ReadOnly)
        .doc("How many milliseconds a token lives until it must be renewed."),
    long("delegation.token.expiry.check.interval.ms", Some("3600000"), AtLeast(1), ReadOnly)
        .doc("How many milliseconds lie between two searches for expired tokens."),
    boolean("ssl.allow.dn.changes", Some("false"), Any, ReadOnly)
        .doc("Whether a new certificate may have another distinguished name."),
    boolean("ssl.allow.san.changes", Some("false"), Any, ReadOnly)
        .doc("Whether a new certificate may have other alternative names."),
    list("ssl.cipher.suites", Some(""), Items, PerBroker)
        .doc("The cipher suites to choose from; all that are there if empty."),
    string("ssl.client.auth", Some("none"), OneOf(&["required", "requested", "none"]), PerBroker)
        .doc("Whether clients need a certificate."),
    list("ssl.enabled.protocols", Some("TLSv1.2,TLSv1.3"), Items, PerBroker).doc("The versions of TLS to choose from."),
    string("ssl.protocol", Some("TLSv1.3"), Any, PerBroker).doc("The version of TLS to begin with."),
    string("ssl.endpoint.identification.algorithm", Some("https"), Any, PerBroker)
        .doc("How a server's name is compared with its certificate; not at all if empty."),
    class("ssl.engine.factory.class", None, Any, PerBroker).doc("The plug-in that makes TLS connections."),
    password("ssl.key.password", None, Any, PerBroker).doc("The password of the private key."),
    string("ssl.keymanager.algorithm", Some("SunX509"), Any, PerBroker)
        .doc("The algorithm that picks the own certificate."),
    password("ssl.keystore.certificate.chain", None, Any, PerBroker)
        .doc("The own certificate and those that signed it, in PEM."),
    password("ssl.keystore.key", None, Any, PerBroker).doc("The own private key, in PEM."),
    string("ssl.keystore.location", None, Any, PerBroker).doc("The file with the own key and certificate."),
    password("ssl.keystore.password", None, Any, PerBroker).doc("The password of that file."),
    string("ssl.keystore.type", Some("JKS"), Any, PerBroker).doc("The format of that file."),
    string("ssl.principal.mapping.rules", Some("DEFAULT"), Any, ReadOnly)
        .doc("How a certificate's distinguished name becomes a user's name."),
    string("ssl.provider", None, Any, PerBroker).doc("The Java security provider for TLS."),
    string("ssl.secure.random.implementation", None, Any, PerBroker).doc("The source of random numbers for TLS."),
    string("ssl.trustmanager.algorithm", Some("PKIX"), Any, PerBroker)
        .doc("The algorithm that checks the other side's certificate."),
    password("ssl.truststore.certificates", None, Any, PerBroker).doc("The trusted certificates, in PEM."),
    string("ssl.truststore.location", None, Any, PerBroker).doc("The file with the trusted certificates."),
    password("ssl.truststore.password", None, Any, PerBroker).doc("The password of that file."),
    string("ssl.truststore.type", Some("JKS"), Any, PerBroker).doc("The format of that file."),
    list("sasl.enabled.mechanisms", Some("GSSAPI"), Items, PerBroker).doc("The SASL mechanisms to choose from."),
    string("sasl.mechanism.inter.broker.protocol", Some("GSSAPI"), Any, PerBroker)
        .doc("The SASL mechanism between brokers."),
    string("sasl.mechanism.controller.protocol", Some("GSSAPI"), Any, ReadOnly)
        .doc("The SASL mechanism towards controllers."),
    password("sasl.jaas.config", None, Any, PerBroker).doc("The login module and its options, in JAAS's words."),
    class("sasl.client.callback.handler.class", None, Any, ReadOnly)
        .doc("The plug-in that answers a client's side of SASL."),
    class("sasl.server.callback.handler.class", None, Any, ReadOnly)
        .doc("The plug-in that answers the server's side of SASL."),
    int("sasl.server.max.receive.size", Some("524288"), Any, ReadOnly)
        .doc("The most bytes of one SASL message before authentication."),
    class("sasl.login.callback.handler.class", None, Any, ReadOnly).doc("The plug-in that answers a login."),
    class("sasl.login.class", None, Any, ReadOnly).doc("The plug-in that logs in."),
    int("sasl.login.connect.timeout.ms", None, Any, ReadOnly)
        .doc("How many milliseconds connecting to the authentication provider may take."),
    int("sasl.login.read.timeout.ms", None, Any, ReadOnly)
        .doc("How many milliseconds the authentication provider's answer may take."),
    long("sasl.login.retry.backoff.ms", Some("100"), Any, ReadOnly)
        .doc("How many milliseconds pass before a login is tried again."),
    long("sasl.login.retry.backoff.max.ms", Some("10000"), Any, ReadOnly)
        .doc("The most milliseconds that such a pause grows to."),
    short("sasl.login.refresh.buffer.seconds", Some("300"), Any, PerBroker)
        .doc("How many seconds before its end a login is renewed at the latest."),
    short("sasl.login.refresh.min.period.seconds", Some("60"), Any, PerBroker)
        .doc("How many seconds a login is used at the least."),
    double("sasl.login.refresh.window.factor", Some("0.8"), Any, PerBroker)
        .doc("After this part of its life a login is renewed."),
    double("sasl.login.refresh.window.jitter", Some("0.05"), Any, PerBroker)
        .doc("How much of that time is random, as a part of 1."),
    string("sasl.kerberos.kinit.cmd", Some("/usr/bin/kinit"), Any, PerBroker)
        .doc("The command that gets a Kerberos ticket."),
    long("sasl.kerberos.min.time.before.relogin", Some("60000"), Any, PerBroker)
        .doc("How many milliseconds lie between two Kerberos logins at the least."),
    list("sasl.kerberos.principal.to.local.rules", Some("DEFAULT"), Items, PerBroker)
        .doc("How a Kerberos principal becomes a user's name."),
    string("sasl.kerberos.service.name", None, Any, PerBroker).doc("The name that the broker runs under in Kerberos."),
    double("sasl.kerberos.ticket.renew.jitter", Some("0.05"), Any, PerBroker)
        .doc("How much of a ticket's time is random, as a part of 1."),
    double("sasl.kerberos.ticket.renew.window.factor", Some("0.8"), Any, PerBroker)
        .doc("After this part of its life a ticket is renewed."),
];
