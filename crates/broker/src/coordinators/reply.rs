//! Puts a question to a group's coordinator, and makes the reply to the client of its answer.

use std::net::IpAddr;

use ottla_coordinator::group::{Answer, Request as Question};
use ottla_protocol::Message;
use ottla_protocol::error::ErrorCode;

use super::Answering;
use crate::access::{Operation, Resource};
use crate::dispatch::{Refused, Reply};
use crate::request::Request;

/// Asks what members ask, which takes the right to read the group.
pub fn ask_as_member<M: Message<'static>>(
    request: &Request<'_>,
    group_id: &str,
    question: Question,
    to_wire: impl FnOnce(Result<Answer, ErrorCode>) -> M + Send + 'static,
) -> Result<Reply, Refused> {
    if request.may(Operation::Read, Resource::Group(group_id)) {
        ask(request, group_id, question, to_wire)
    } else {
        request.reply(to_wire(Err(ErrorCode::GroupAuthorizationFailed)))
    }
}

/// Asks the coordinator of `group_id`. The reply is there at once where the answer is, and parked where members wait for each
/// other.
pub fn ask<M: Message<'static>>(
    request: &Request<'_>,
    group_id: &str,
    question: Question,
    to_wire: impl FnOnce(Result<Answer, ErrorCode>) -> M + Send + 'static,
) -> Result<Reply, Refused> {
    match request.node.groups.ask(group_id, question).and_then(Answering::now) {
        Err(code) => request.reply(to_wire(Err(code))),
        Ok(Ok(answer)) => request.reply(to_wire(Ok(answer))),
        Ok(Err(answering)) => {
            let responder = request.responder();
            Ok(Reply::Parked(Box::pin(async move { responder.answer(to_wire(answering.answer().await)) })))
        }
    }
}

/// An address as Java prints it, which is how Kafka's tools show where a member is: `/127.0.0.1`, `/0:0:0:0:0:0:0:1`.
pub fn java_host(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("/{address}"),
        IpAddr::V6(address) => {
            let groups: Vec<String> = address.segments().iter().map(|group| format!("{group:x}")).collect();
            format!("/{}", groups.join(":"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_written_as_java_does() {
        let host = |text: &str| java_host(text.parse().expect("an address"));
        assert_eq!(host("127.0.0.1"), "/127.0.0.1");
        assert_eq!(host("::ffff:10.0.0.1"), "/10.0.0.1");
        assert_eq!(host("::1"), "/0:0:0:0:0:0:0:1");
        assert_eq!(host("fe80::a:0:b"), "/fe80:0:0:0:0:a:0:b");
    }
}
