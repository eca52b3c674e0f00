//! Frames: the size in front, the header of a request and that of a response.
//!
//! Not here: reading sockets, and the limit on a frame's size, which is a setting.
//!
//! ```text
//! request     int32 size | int16 api key, int16 version, int32 correlation id, client id [, tags] | body
//! response    int32 size | int32 correlation id [, tags] | body
//! ```
//!
//! The tags are there in a flexible version of the API (KIP-482). The client id has an int16 length even then. The
//! response of ApiVersions has no tags in any version, for its sender cannot know what the client knows (KIP-511).

use crate::api::ApiKey;
use crate::wire::{DecodeError, Reader, Str, Writer};

/// The bytes of the size in front of a frame, which the size does not count.
pub const SIZE_LENGTH: usize = 4;

/// What stands in front of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// The API asked for.
    pub api_key: i16,
    /// The version of the request and of its answer; not necessarily one that is served.
    pub api_version: i16,
    /// What the answer repeats.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<Str<'a>>,
}

impl<'a> RequestHeader<'a> {
    /// Takes a frame apart, without its size: the header, and the body behind it. A key that is no API is an error,
    /// because its header cannot be read.
    pub fn decode(frame: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let mut reader = Reader::new(frame);
        let (code, api_version) = (reader.int16()?, reader.int16()?);
        let api = ApiKey::from_code(code).ok_or(DecodeError::UnknownApi(code))?;
        let correlation_id = reader.int32()?;
        let client_id = reader.nullable_string(false)?;
        if api.is_flexible(api_version) {
            reader.skip_tags()?;
        }
        Ok((Self { api_key: code, api_version, correlation_id, client_id }, reader.remaining()))
    }

    /// Writes the header of a request to one of the known APIs.
    ///
    /// # Panics
    /// Where the key is none of them.
    pub fn encode(&self, writer: &mut Writer) {
        let api = ApiKey::from_code(self.api_key).expect("requests are sent to APIs that exist");
        writer.int16(self.api_key);
        writer.int16(self.api_version);
        writer.int32(self.correlation_id);
        writer.nullable_string(self.client_id.as_deref(), false);
        if api.is_flexible(self.api_version) {
            writer.no_tags();
        }
    }
}

impl ApiKey {
    /// Writes what stands in front of a response: room for the size, and the header. [`Writer::finish_frame`] fills in
    /// the size when the body is written.
    pub fn begin_response(self, writer: &mut Writer, version: i16, correlation_id: i32) {
        writer.begin_frame();
        writer.int32(correlation_id);
        if self.response_header_has_tags(version) {
            writer.no_tags();
        }
    }

    fn response_header_has_tags(self, version: i16) -> bool {
        self != Self::ApiVersions && self.is_flexible(version)
    }
}

/// Reads the header of a response, behind its size; gives the correlation id.
pub fn read_response_header(reader: &mut Reader<'_>, api: ApiKey, version: i16) -> Result<i32, DecodeError> {
    let correlation_id = reader.int32()?;
    if api.response_header_has_tags(version) {
        reader.skip_tags()?;
    }
    Ok(correlation_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_tags_where_the_version_is_flexible() {
        let start = [0, 1, 0, 0, 0, 7, 0, 1, b'c'];
        let header = |key: ApiKey, version: u8, rest: &[u8]| {
            let frame = [&[0, key.code() as u8, 0, version], &start[2..], rest].concat();
            RequestHeader::decode(&frame).map(|(header, body)| (header.correlation_id, body.to_vec()))
        };
        assert_eq!(header(ApiKey::Fetch, 11, &[9]), Ok((7, vec![9])));
        assert_eq!(header(ApiKey::Fetch, 12, &[0, 9]), Ok((7, vec![9])));
        assert_eq!(header(ApiKey::Fetch, 12, &[1, 5, 2, 8, 8, 9]), Ok((7, vec![9])), "unknown tags are skipped");
        assert_eq!(header(ApiKey::Fetch, 12, &[1, 5, 2, 8]), Err(DecodeError::Truncated));
        assert_eq!(header(ApiKey::SaslHandshake, 1, &[9]), Ok((7, vec![9])));
        assert_eq!(header(ApiKey::ApiVersions, 99, &[0, 9]), Ok((7, vec![9])), "it is to be answered, so it is read");
    }

    #[test]
    fn a_header_that_cannot_be_read_is_an_error() {
        for (frame, error) in [
            (&[][..], DecodeError::Truncated),
            (&[0, 18, 0, 3, 0, 0, 0, 1], DecodeError::Truncated),
            (&[0, 18, 0, 0, 0, 0, 0, 1, 0, 9], DecodeError::Truncated),
            (&[0, 4, 0, 0, 0, 0, 0, 1, 0xff, 0xff], DecodeError::UnknownApi(4)),
            (&[0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff], DecodeError::UnknownApi(i16::MAX)),
            (&[0xff, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff], DecodeError::UnknownApi(-1)),
        ] {
            assert_eq!(RequestHeader::decode(frame), Err(error), "{frame:?}");
        }
    }

    #[test]
    fn the_response_header_has_tags_where_the_version_is_flexible_but_for_api_versions() {
        for (api, version, header) in [
            (ApiKey::Fetch, 11, &[0, 0, 0, 4, 0, 0, 0, 7][..]),
            (ApiKey::Fetch, 12, &[0, 0, 0, 5, 0, 0, 0, 7, 0]),
            (ApiKey::ApiVersions, 0, &[0, 0, 0, 4, 0, 0, 0, 7]),
            (ApiKey::ApiVersions, 4, &[0, 0, 0, 4, 0, 0, 0, 7]),
        ] {
            let mut writer = Writer::new();
            api.begin_response(&mut writer, version, 7);
            writer.finish_frame();
            assert_eq!(writer.buffer, header);
            assert_eq!(read_response_header(&mut Reader::new(&header[SIZE_LENGTH..]), api, version), Ok(7));
        }
    }
}
