//! The description as prost structs: slower and plainer than `read` and `write`, which are compared with it. All
//! fields of the format are here. Texts are bytes, since C++ peers do not check them, and map entries are kept in the
//! order in which they came, so that what is decoded encodes to the same bytes.

/// `RpcMeta`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RpcMeta {
    #[prost(message, optional, tag = "1")]
    pub(crate) request: Option<RpcRequestMeta>,
    #[prost(message, optional, tag = "2")]
    pub(crate) response: Option<RpcResponseMeta>,
    #[prost(int32, optional, tag = "3")]
    pub(crate) compress_type: Option<i32>,
    #[prost(int64, optional, tag = "4")]
    pub(crate) correlation_id: Option<i64>,
    #[prost(int32, optional, tag = "5")]
    pub(crate) attachment_size: Option<i32>,
    #[prost(message, optional, tag = "6")]
    pub(crate) chunk_info: Option<ChunkInfo>,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub(crate) authentication_data: Option<Vec<u8>>,
    #[prost(message, optional, tag = "8")]
    pub(crate) stream_settings: Option<StreamSettings>,
    #[prost(message, repeated, tag = "9")]
    pub(crate) user_fields: Vec<UserField>,
    #[prost(int32, optional, tag = "10")]
    pub(crate) content_type: Option<i32>,
    #[prost(int32, optional, tag = "11")]
    pub(crate) checksum_type: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "12")]
    pub(crate) checksum_value: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "13")]
    pub(crate) checksum_with_attachment: Option<bool>,
}

/// `RpcRequestMeta`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RpcRequestMeta {
    /// Required.
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) service_name: Option<Vec<u8>>,
    /// Required.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) method_name: Option<Vec<u8>>,
    #[prost(int64, optional, tag = "3")]
    pub(crate) log_id: Option<i64>,
    #[prost(int64, optional, tag = "4")]
    pub(crate) trace_id: Option<i64>,
    #[prost(int64, optional, tag = "5")]
    pub(crate) span_id: Option<i64>,
    #[prost(int64, optional, tag = "6")]
    pub(crate) parent_span_id: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub(crate) request_id: Option<Vec<u8>>,
    #[prost(int32, optional, tag = "8")]
    pub(crate) timeout_ms: Option<i32>,
}

/// `RpcResponseMeta`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RpcResponseMeta {
    #[prost(int32, optional, tag = "1")]
    pub(crate) error_code: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) error_text: Option<Vec<u8>>,
}

/// `ChunkInfo`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ChunkInfo {
    /// Required.
    #[prost(int64, optional, tag = "1")]
    pub(crate) stream_id: Option<i64>,
    /// Required.
    #[prost(int64, optional, tag = "2")]
    pub(crate) chunk_id: Option<i64>,
}

/// `StreamSettings`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StreamSettings {
    /// Required.
    #[prost(int64, optional, tag = "1")]
    pub(crate) stream_id: Option<i64>,
    #[prost(bool, optional, tag = "2")]
    pub(crate) need_feedback: Option<bool>,
    #[prost(bool, optional, tag = "3")]
    pub(crate) writable: Option<bool>,
    #[prost(int64, repeated, packed = "false", tag = "4")]
    pub(crate) extra_stream_ids: Vec<i64>,
}

/// An entry of the map `user_fields`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct UserField {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) value: Option<Vec<u8>>,
}

impl RpcMeta {
    /// Whether all required parts are there.
    pub(crate) fn is_whole(&self) -> bool {
        self.request
            .as_ref()
            .is_none_or(|request| request.service_name.is_some() && request.method_name.is_some())
            && self
                .chunk_info
                .as_ref()
                .is_none_or(|chunk| chunk.stream_id.is_some() && chunk.chunk_id.is_some())
            && self.stream_settings.as_ref().is_none_or(|settings| settings.stream_id.is_some())
    }
}
