//! Keys: which blocks a record is about. Forms: `BP-<pool>:blk_<id>_<gs>`, `blk_<id>_<gs>`, `blk_<id>` and
//! `blockId=<id>`, which counts where the line has none of the others; ids may be negative. The generation stamp is
//! data, not part of the key.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::template::scan;

static BLK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"blk_"));
static BLOCK_ID: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"lockId="));
static POOL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"BP-"));

/// A block as HDFS numbers it, unique in its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub i64);

impl std::fmt::Display for BlockId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "blk_{}", self.0)
    }
}

/// One block on a line, with its pool where the line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The block.
    pub block: BlockId,
    /// `BP-...`, empty where unknown.
    pub pool: &'a [u8],
}

/// The blocks on one line, in order, each as often as it stands there. A block without a pool of its own gets the
/// first pool that the line names.
pub fn find(line: &[u8]) -> impl Iterator<Item = Key<'_>> {
    let mut found = Blocks { line, at: 0, form: Form::Named };
    let mut line_pool = None;
    std::iter::from_fn(move || {
        let (block, own) = found.next()?;
        let pool = if own.is_empty() { *line_pool.get_or_insert_with(|| first_pool(line)) } else { own };
        Some(Key { block, pool })
    })
}

struct Blocks<'a> {
    line: &'a [u8],
    at: usize,
    form: Form,
}

/// Which forms a line has been found to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// None of the `blk_` forms yet.
    Named,
    /// One of them at least.
    NamedFound,
    /// Only the bare one.
    Bare,
}

impl<'a> Iterator for Blocks<'a> {
    type Item = (BlockId, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while self.form != Form::Bare {
            let Some(found) = BLK.find(self.line.get(self.at..)?) else {
                if self.form == Form::NamedFound {
                    return None;
                }
                (self.form, self.at) = (Form::Bare, 0);
                break;
            };
            let start = self.at + found;
            self.at = start + BLK.needle().len();
            if let Some(block) = self.number() {
                self.form = Form::NamedFound;
                return Some((block, pool_before(self.line.get(..start)?)));
            }
        }
        loop {
            let start = self.at + BLOCK_ID.find(self.line.get(self.at..)?)?;
            self.at = start + BLOCK_ID.needle().len();
            let initial = start.checked_sub(1).and_then(|at| self.line.get(at));
            if matches!(initial, Some(b'b' | b'B'))
                && let Some(block) = self.number()
            {
                return Some((block, b""));
            }
        }
    }
}

impl Blocks<'_> {
    /// Reads a number at `at` and moves behind it; `None` if there is none or it does not fit.
    fn number(&mut self) -> Option<BlockId> {
        let id = scan::number(self.line, self.at).filter(|id| id.fits)?;
        self.at = id.end;
        Some(BlockId(id.value))
    }
}

/// The pool that ends right before a block, as in `BP-1-10.0.0.1-2:blk_3`; empty if none does.
pub(crate) fn pool_before(before: &[u8]) -> &[u8] {
    let Some(before) = before.strip_suffix(b":") else { return b"" };
    let start = before.iter().rposition(|&byte| !is_pool_byte(byte)).map_or(0, |at| at + 1);
    before.get(start..).filter(|pool| pool.starts_with(POOL.needle())).unwrap_or(b"")
}

fn first_pool(line: &[u8]) -> &[u8] {
    let Some(start) = POOL.find(line) else { return b"" };
    let rest = line.get(start..).unwrap_or(b"");
    let end = rest.iter().position(|&byte| !is_pool_byte(byte)).unwrap_or(rest.len());
    rest.get(..end).unwrap_or(b"")
}

fn is_pool_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(line: &str) -> Vec<(i64, String)> {
        find(line.as_bytes())
            .map(|key| (key.block.0, String::from_utf8_lossy(key.pool).into_owned()))
            .collect()
    }

    #[test]
    fn all_four_forms() {
        let pool = "BP-2098612987-10.46.73.192-1488507853695";
        assert_eq!(
            keys(&format!("Receiving {pool}:blk_1075805288_2064980 src")),
            [(1_075_805_288, pool.to_owned())]
        );
        assert_eq!(keys("Scheduling blk_1073741833_1009 replica"), [(1_073_741_833, String::new())]);
        assert_eq!(
            keys("Served block blk_-3544583377289625738 to"),
            [(-3_544_583_377_289_625_738, String::new())]
        );
        assert_eq!(keys("cmd blockId=42, x BlockId=-7"), [(42, String::new()), (-7, String::new())]);
    }

    #[test]
    fn the_bare_form_counts_only_on_its_own() {
        assert_eq!(keys("reply for blk_1_1001 (blockId=1, status=0) of blk_2").len(), 2);
        assert_eq!(keys("reply (blockId=1, status=0) blk_"), [(1, String::new())]);
    }

    #[test]
    fn a_pool_elsewhere_on_the_line_counts_for_blocks_without_one() {
        assert_eq!(
            keys("Deleted BP-1-10.0.0.1-5 blk_7_1 URI file:/d/BP-1-10.0.0.1-5/x/blk_7"),
            [(7, "BP-1-10.0.0.1-5".to_owned()), (7, "BP-1-10.0.0.1-5".to_owned())]
        );
    }

    #[test]
    fn many_blocks_on_one_line() {
        assert_eq!(keys("ask 10.0.0.1:50010 to delete  blk_1 blk_-2 blk_3").len(), 3);
    }

    #[test]
    fn numbers_that_do_not_fit_are_no_blocks() {
        assert_eq!(keys("blk_ blk_x blk_99999999999999999999 lockId=5"), []);
        assert_eq!(keys("blk_-9223372036854775808"), [(i64::MIN, String::new())]);
        assert_eq!(keys("blk_9223372036854775808"), []);
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(line in prop::collection::vec(any::<u8>(), 0..200)) {
            find(&line).for_each(drop);
        }

        #[test]
        fn every_id_is_found(id in any::<i64>(), before in "[ a-z:]{0,20}") {
            let line = format!("{before}blk_{id}_1001 after");
            let expected = [BlockId(id)];
            prop_assert_eq!(find(line.as_bytes()).map(|key| key.block).collect::<Vec<_>>(), expected);
        }
    }
}
