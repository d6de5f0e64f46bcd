//! Delta debugging: the smallest part of a list that a property still holds for. Knows nothing of what the elements are,
//! nor how a try is made.

/// The list's smallest part found that still has the property: none of its elements can be left out alone, unless `holds`
/// has given up before.
///
/// `holds` is given candidates in the order of preference and returns the number of the first that has the property, or
/// [`Tried::Nothing`]. It may try several at a time; what comes out does not depend on how many.
pub(super) fn minimize<T: Clone>(elements: Vec<T>, mut holds: impl FnMut(&[Vec<T>]) -> Tried) -> Vec<T> {
    let mut kept = elements;
    if kept.is_empty() {
        return kept;
    }
    match holds(&[Vec::new()]) {
        Tried::First(_) => return Vec::new(),
        Tried::Nothing => {}
        Tried::GivenUp => return kept,
    }
    let mut parts = 2;
    while kept.len() > 1 {
        parts = parts.min(kept.len());
        let chunks: Vec<&[T]> = split(&kept, parts);
        let mut candidates: Vec<Vec<T>> = chunks.iter().map(|chunk| chunk.to_vec()).collect();
        // With two parts the one's complement is the other.
        if parts > 2 {
            candidates.extend((0..chunks.len()).map(|left_out| {
                let others = chunks.iter().enumerate().filter(|&(i, _)| i != left_out);
                others.flat_map(|(_, chunk)| chunk.iter().cloned()).collect()
            }));
        }
        match holds(&candidates) {
            Tried::First(number) => {
                parts = if number < chunks.len() { 2 } else { (parts - 1).max(2) };
                kept = candidates.swap_remove(number);
            }
            Tried::Nothing if parts == kept.len() => break,
            Tried::Nothing => parts *= 2,
            Tried::GivenUp => break,
        }
    }
    kept
}

/// What came out of a list of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// The number of the first that has the property.
    First(usize),
    /// None has it.
    Nothing,
    /// There is no time left.
    GivenUp,
}

/// `parts` pieces as equal in length as can be; `parts` is not more than the elements.
fn split<T>(elements: &[T], parts: usize) -> Vec<&[T]> {
    let bound = |part: usize| part * elements.len() / parts;
    (0..parts).map(|part| &elements[bound(part)..bound(part + 1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_of(candidates: &[Vec<u32>], holds: impl Fn(&[u32]) -> bool) -> Tried {
        candidates.iter().position(|candidate| holds(candidate)).map_or(Tried::Nothing, Tried::First)
    }

    #[test]
    fn what_needs_no_element_keeps_none() {
        assert!(minimize((0..100).collect(), |c| first_of(c, |_| true)).is_empty());
        assert!(minimize(Vec::<u32>::new(), |_| unreachable!("there is nothing to try")).is_empty());
    }

    #[test]
    fn just_the_needed_elements_are_left() {
        for needed in [vec![7], vec![0, 99], vec![3, 4, 5], vec![1, 20, 50, 51, 98], (0..100).collect()] {
            let mut tries = 0;
            let left = minimize((0..100).collect(), |candidates| {
                tries += candidates.len();
                first_of(candidates, |c| needed.iter().all(|element| c.contains(element)))
            });
            assert_eq!(left, needed);
            assert!(tries < 1000, "{tries} tries for {needed:?}");
        }
    }

    #[test]
    fn no_element_left_can_go_alone() {
        // Not monotonic: an even number of elements above 4 that include the first.
        let holds = |c: &[u32]| c.contains(&0) && c.len() >= 5 && c.len() % 2 == 1;
        let left = minimize((0..51).collect(), |candidates| first_of(candidates, holds));
        assert!(holds(&left));
        for i in 0..left.len() {
            let mut fewer = left.clone();
            fewer.remove(i);
            assert!(!holds(&fewer), "{left:?} without number {i}");
        }
    }

    #[test]
    fn giving_up_leaves_the_best_so_far() {
        let mut rounds = 0;
        let left = minimize((0..64).collect(), |candidates| {
            rounds += 1;
            if rounds > 3 { Tried::GivenUp } else { first_of(candidates, |c: &[u32]| c.contains(&63)) }
        });
        assert_eq!(left, (48..64).collect::<Vec<_>>());
    }
}
