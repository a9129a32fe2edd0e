//! Puts a graph together, node by node. Equal calls give equal bytes.

use tract_onnx::pb::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_proto::AttributeType, tensor_proto::DataType, tensor_shape_proto, type_proto,
};

/// A graph from `tokens` to `score` while it is put together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Builder {
    node: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
}

impl Builder {
    /// Adds a node with one output, after which it is named, and attributes that are numbers.
    pub(crate) fn node(&mut self, kind: &str, inputs: &[&str], output: &str, numbers: &[(&str, i64)]) {
        let attribute = numbers.iter().map(|(name, value)| AttributeProto {
            name: (*name).to_owned(),
            r#type: AttributeType::Int as i32,
            i: *value,
            ..AttributeProto::default()
        });
        self.node.push(NodeProto {
            op_type: kind.to_owned(),
            name: output.to_owned(),
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            attribute: attribute.collect(),
            ..NodeProto::default()
        });
    }

    /// As [`node`](Self::node), with one attribute that is a list.
    pub(crate) fn list(&mut self, kind: &str, inputs: &[&str], output: &str, (name, values): (&str, &[i64])) {
        self.node(kind, inputs, output, &[]);
        if let Some(node) = self.node.last_mut() {
            node.attribute.push(AttributeProto {
                name: name.to_owned(),
                r#type: AttributeType::Ints as i32,
                ints: values.to_vec(),
                ..AttributeProto::default()
            });
        }
    }

    /// Stores floats.
    pub(crate) fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, DataType::Float, dims, bytes);
    }

    /// Stores integers of 64 bits.
    pub(crate) fn integers(&mut self, name: &str, dims: &[usize], values: &[usize]) {
        let bytes = values.iter().flat_map(|value| int(*value).to_le_bytes()).collect();
        self.tensor(name, DataType::Int64, dims, bytes);
    }

    /// Stores raw little-endian bytes of any type.
    pub(crate) fn tensor(&mut self, name: &str, kind: DataType, dims: &[usize], raw_data: Vec<u8>) {
        self.initializer.push(TensorProto {
            name: name.to_owned(),
            data_type: kind as i32,
            dims: dims.iter().copied().map(int).collect(),
            raw_data,
            ..TensorProto::default()
        });
    }

    /// The graph; its last value must be `score`, of shape `[N, 1]`.
    #[must_use]
    pub(crate) fn finish(self, length: usize) -> GraphProto {
        GraphProto {
            name: "blocksift".to_owned(),
            node: self.node,
            initializer: self.initializer,
            input: vec![port("tokens", DataType::Int64, int(length))],
            output: vec![port("score", DataType::Float, 1)],
            ..GraphProto::default()
        }
    }
}

/// A value of shape `[N, columns]`.
fn port(name: &str, kind: DataType, columns: i64) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let dim = [Value::DimParam("N".to_owned()), Value::DimValue(columns)];
    let dim = dim.map(|value| Dimension { denotation: String::new(), value: Some(value) });
    let shape = Some(TensorShapeProto { dim: dim.to_vec() });
    let tensor = type_proto::Tensor { elem_type: kind as i32, shape };
    let value = Some(type_proto::Value::TensorType(tensor));
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { denotation: String::new(), value }),
        ..ValueInfoProto::default()
    }
}

/// Sizes are small; ONNX wants them signed.
pub(crate) fn int(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
