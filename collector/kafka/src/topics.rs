//! Topics as the collector needs them.

use std::collections::HashMap;

use krafka::KrafkaError;
use krafka::admin::{CreateTopicsOptions, NewTopic};
use krafka::error::ErrorCode;

use crate::{Boxed, Cluster, Error};

/// A topic to be made.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Name.
    pub name: String,
    /// So many members of a group can read it at once; nothing: what the brokers are configured for.
    pub partitions: Option<i32>,
    /// Copies of each message; nothing: what the brokers are configured for.
    pub replicas: Option<i16>,
    /// Bytes of the largest message, packed.
    pub message_bytes_max: usize,
}

/// Makes topics; says of each in turn whether it was made or was there already, as it may be.
///
/// # Errors
/// The first that could not be made.
pub fn create_topics<'a>(cluster: &'a Cluster, topics: &'a [Topic]) -> Boxed<'a, Result<Vec<bool>, Error>> {
    Box::pin(async move {
        let wrong = |source| cluster.error(source);
        let mut wanted = Vec::new();
        for topic in topics {
            // -1 is the broker's default.
            let (partitions, replicas) = (topic.partitions.unwrap_or(-1), topic.replicas.unwrap_or(-1));
            let mut new = NewTopic::new(&topic.name, partitions, replicas).map_err(wrong)?;
            new.configs =
                HashMap::from([("max.message.bytes".to_owned(), topic.message_bytes_max.to_string())]);
            wanted.push(new);
        }
        let admin = cluster.connect().await?.admin();
        let mut outcomes =
            admin.create_topics(wanted, CreateTopicsOptions::default()).await.map_err(wrong)?;
        let mut made = Vec::new();
        for topic in topics {
            made.push(match outcomes.remove(&topic.name) {
                Some(Err(KrafkaError::Broker { code: ErrorCode::TopicAlreadyExists, .. })) => false,
                Some(Err(source)) => return Err(wrong(source)),
                Some(Ok(())) | None => true,
            });
        }
        Ok(made)
    })
}
