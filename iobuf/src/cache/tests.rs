//! Tests of the thread's block cache, on caches of their own.

use super::*;
use crate::block::{BLOCK_PAYLOAD, BlockRef};

fn cache() -> Cache {
    Cache::new()
}

/// A block with `n` referenced bytes, and the reference.
fn partly_filled(n: usize) -> (Block, BlockRef) {
    let mut block = Block::alloc(Size::Small);
    assert_eq!(block.stage_fill(b'x', n), n);
    let piece = block.commit(None).expect("bytes were staged");
    (block, piece)
}

#[test]
fn acquire_takes_the_block_released_last() {
    let mut cache = cache();
    let (first, _a) = partly_filled(10);
    let (second, _b) = partly_filled(20);
    assert!(cache.release(first).is_none());
    assert!(cache.release(second).is_none());
    assert_eq!(cache.acquire().spare(), BLOCK_PAYLOAD - 20);
    assert_eq!(cache.acquire().spare(), BLOCK_PAYLOAD - 10);
    assert_eq!(cache.acquire().spare(), BLOCK_PAYLOAD);
}

#[test]
fn a_full_block_is_not_kept() {
    let mut cache = cache();
    let (full, _piece) = partly_filled(BLOCK_PAYLOAD);
    assert!(cache.release(full).is_some());
    assert_eq!(cache.partial.len() + cache.empty[0].len(), 0);
}

#[test]
fn a_block_without_references_starts_over() {
    let mut cache = cache();
    let (full, piece) = partly_filled(BLOCK_PAYLOAD);
    drop(piece);
    assert!(cache.release(full).is_none());
    assert_eq!(cache.acquire().spare(), BLOCK_PAYLOAD);

    let (block, piece) = partly_filled(10);
    let second = piece.clone();
    drop(piece);
    assert!(cache.release(block).is_none());
    assert_eq!(cache.head(0).expect("partly filled").spare(), BLOCK_PAYLOAD - 10, "one reference is left");
    drop(second);
    assert_eq!(cache.head(0).expect("empty").spare(), BLOCK_PAYLOAD);
}

#[test]
fn staged_bytes_are_forgotten_on_release() {
    let mut cache = cache();
    let (mut block, _piece) = partly_filled(10);
    block.stage(b"never committed");
    assert!(cache.release(block).is_none());
    assert_eq!(cache.acquire().spare(), BLOCK_PAYLOAD - 10);
}

#[test]
fn partial_blocks_are_bounded() {
    let mut cache = cache();
    let (blocks, _pieces): (Vec<_>, Vec<_>) = (0..PARTIAL_BLOCKS_MAX + 3).map(|_| partly_filled(1)).unzip();
    let refused: Vec<_> = blocks.into_iter().filter_map(|block| cache.release(block)).collect();
    assert_eq!((cache.partial.len(), refused.len()), (PARTIAL_BLOCKS_MAX, 3));
}

#[test]
fn empty_blocks_are_bounded() {
    for size in Size::ALL {
        let mut cache = cache();
        for _ in 0..10 * free_max(size) {
            cache.keep_empty(Block::alloc(size));
            assert!(cache.empty[size.index()].len() <= free_max(size));
        }
    }
}

#[test]
fn the_rest_of_a_large_block_is_not_appended_to() {
    let mut cache = cache();
    let mut large = Block::alloc(Size::Large);
    assert_eq!(large.stage_fill(b'x', 10), 10);
    let piece = large.commit(None).expect("bytes were staged");
    assert!(cache.release(large).is_some(), "its bytes are referenced");
    assert!(cache.release(Block::alloc(Size::Large)).is_none());
    assert_eq!((cache.partial.len(), cache.empty[Size::Large.index()].len()), (0, 1));
    drop(piece);
}

#[test]
fn filling_spans_blocks_and_merges_neighbours() {
    let (mut cache, mut refs) = (cache(), RefQueue::new());
    let mut fill = |refs: &mut RefQueue, n: usize| {
        let mut left = n;
        cache.fill(refs, &mut |block| {
            left -= block.stage_fill(b'y', left);
            left == 0
        });
    };
    fill(&mut refs, 1);
    fill(&mut refs, BLOCK_PAYLOAD - 2);
    assert_eq!(refs.count(), 1);
    fill(&mut refs, 2 * BLOCK_PAYLOAD);
    assert_eq!(
        refs.iter().map(BlockRef::len).collect::<Vec<_>>(),
        [BLOCK_PAYLOAD, BLOCK_PAYLOAD, BLOCK_PAYLOAD - 1]
    );
}
