//! The model card: what the file is, how it was made, how well it works, what it is not good for.

use blocksift_detector::model::Metadata;

use crate::net::Net;
use crate::sheet::Sheet;

/// Terms of a model trained on HDFS_v1.
pub(crate) const LICENCE: &str = "Model: Apache-2.0. Trained on HDFS_v1 (LogHub, https://github.com/logpai/loghub), which is \
    freely available for research or academic work; cite Zhu et al., ISSRE 2023, and Xu et al., SOSP 2009.";

/// What the card tells.
pub(crate) struct Facts<'a> {
    /// The file's metadata.
    pub(crate) metadata: &'a Metadata,
    /// The float net.
    pub(crate) net: &'a Net,
    /// Figures of the test.
    pub(crate) sheet: &'a Sheet,
    /// Command line that made it.
    pub(crate) command: String,
    /// Size of the file.
    pub(crate) bytes: usize,
}

/// The command line, with paths as they were given.
#[must_use]
pub(crate) fn command(_name: &str, args: impl Iterator<Item = String>) -> String {
    args.fold("model-export".to_owned(), |line, arg| {
        if arg.contains(' ') { format!("{line} '{arg}'") } else { format!("{line} {arg}") }
    })
}

/// The card as Markdown.
#[must_use]
pub(crate) fn write(facts: &Facts<'_>) -> String {
    let Facts { metadata, net, sheet, command, bytes } = facts;
    let shape = net.shape;
    format!(
        "# {name}

{licence}

Made by: `{command}`
Architecture: {filters} filters, {parameters} parameters, {bytes} bytes

{sheet}
",
        name = metadata.name,
        licence = metadata.licence,
        filters = shape.filters,
        parameters = shape.parameters(),
    )
}
