//! Empty blocks that wait for reuse, last in, first out, and how many of them were not needed for a while.
//!
//! Owns the order: the block used last, whose bytes the CPU's caches still have, is the first to be used again. It must
//! never allocate or free a block.

use crate::block::Block;

/// Empty blocks of one size.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    blocks: Vec<Block>,
    /// The fewest blocks there were since [`take_idle`](Self::take_idle): so many, from the bottom, were not used since.
    low: usize,
}

impl Shelf {
    pub(crate) const fn new() -> Self {
        Self { blocks: Vec::new(), low: 0 }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    #[inline]
    pub(crate) fn put(&mut self, block: Block) {
        self.blocks.push(block);
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Option<Block> {
        let block = self.blocks.pop();
        self.low = self.low.min(self.blocks.len());
        block
    }

    /// Moves the `n` blocks put last, or all if there are fewer, to `to`.
    pub(crate) fn move_to(&mut self, to: &mut Self, n: usize) {
        let at = self.blocks.len().saturating_sub(n);
        self.low = self.low.min(at);
        to.blocks.extend(self.blocks.drain(at..));
    }

    /// Takes the `n` blocks that have been here longest, or all if there are fewer.
    pub(crate) fn take_coldest(&mut self, n: usize) -> Vec<Block> {
        let n = n.min(self.blocks.len());
        self.low = self.low.saturating_sub(n);
        self.blocks.drain(..n).collect()
    }

    /// Takes the blocks that nobody needed since this was called last.
    pub(crate) fn take_idle(&mut self) -> Vec<Block> {
        let idle = self.blocks.drain(..self.low).collect();
        self.low = self.blocks.len();
        idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Size;

    /// Blocks with 1, 2, .. bytes staged, so that they can be told apart.
    fn shelf(count: usize) -> Shelf {
        let mut shelf = Shelf::new();
        for i in 1..=count {
            let mut block = Block::alloc(Size::Small);
            block.stage_fill(0, i);
            shelf.put(block);
        }
        shelf
    }

    fn numbers(blocks: Vec<Block>) -> Vec<usize> {
        blocks.iter().map(Block::staged).collect()
    }

    #[test]
    fn the_block_put_last_is_taken_first() {
        let mut shelf = shelf(3);
        assert_eq!(shelf.take().unwrap().staged(), 3);
        assert_eq!(numbers(shelf.take_coldest(5)), [1, 2]);
        assert!(shelf.take().is_none());
    }

    #[test]
    fn idle_are_those_below_the_lowest_level() {
        let mut shelf = shelf(5);
        assert!(shelf.take_idle().is_empty(), "all are new");
        let used = [shelf.take().unwrap(), shelf.take().unwrap()];
        used.into_iter().for_each(|block| shelf.put(block));
        assert_eq!(numbers(shelf.take_idle()), [1, 2, 3]);
        assert_eq!(shelf.len(), 2);
        let mut other = Shelf::new();
        shelf.move_to(&mut other, 1);
        assert_eq!((numbers(shelf.take_idle()).len(), other.len()), (1, 1));
        assert!(other.take_idle().is_empty());
        assert_eq!(other.take_idle().len(), 1);
        assert_eq!(other.take_idle().len(), 0);
    }

    #[test]
    fn taking_the_coldest_takes_of_the_idle_ones() {
        let mut shelf = shelf(4);
        shelf.take_idle();
        assert_eq!(numbers(shelf.take_coldest(3)), [1, 2, 3]);
        assert_eq!(numbers(shelf.take_idle()), [4]);
    }
}
