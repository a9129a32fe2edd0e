//! What the table needs of an ONNX file, as Protocol Buffers messages of our own: tract's come with tract. Names and
//! field numbers are those of `onnx/onnx.proto` in <https://github.com/onnx/onnx> (IR version 8, opset 17); fields that
//! are not listed are skipped when a file is read.

/// Kinds of stored values that the table reads (`TensorProto.DataType`).
pub(super) mod kind {
    pub(in crate::score) const FLOAT: i32 = 1;
    pub(in crate::score) const UINT8: i32 = 2;
    pub(in crate::score) const INT8: i32 = 3;
    pub(in crate::score) const INT32: i32 = 6;
    pub(in crate::score) const INT64: i32 = 7;
}

/// Kinds of attributes that the table reads (`AttributeProto.AttributeType`).
pub(super) mod attribute {
    pub(in crate::score) const FLOAT: i32 = 1;
    pub(in crate::score) const INT: i32 = 2;
    pub(in crate::score) const INTS: i32 = 7;
}

/// A file.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ModelProto {
    #[prost(message, optional, tag = "7")]
    pub(super) graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "14")]
    pub(super) metadata_props: Vec<StringStringEntryProto>,
}

/// Nodes in an order in which they can be run, and stored tensors.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub(super) node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    pub(super) initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "12")]
    pub(super) output: Vec<ValueInfoProto>,
}

/// A use of an operator. Values have names; a node names those it reads and those it makes.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub(super) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) output: Vec<String>,
    #[prost(string, tag = "4")]
    pub(super) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    pub(super) domain: String,
}

/// A setting of a node.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AttributeProto {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(float, tag = "2")]
    pub(super) f: f32,
    #[prost(int64, tag = "3")]
    pub(super) i: i64,
    #[prost(int64, repeated, tag = "8")]
    pub(super) ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    pub(super) r#type: i32,
}

/// Stored values, row by row. `raw_data` is little-endian; the other fields that may hold values are not read.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    pub(super) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(super) data_type: i32,
    #[prost(string, tag = "8")]
    pub(super) name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub(super) raw_data: Vec<u8>,
}

/// A value that leaves the graph.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ValueInfoProto {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

/// One entry of the metadata.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}
