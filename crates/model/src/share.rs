//! How places of which there are only so many are shared among stores, so that no store takes those of the others.
//!
//! Half of the places are *guaranteed*: divided evenly among as many stores as may have a share of their own, and
//! one more share for all other stores together. The other half is *common*. A store that holds fewer than its
//! guaranteed share always gets another place. A store that holds more gets one only while it holds fewer than
//! are left in the common half. The store that holds most is therefore the first that gets no more, one store
//! alone gets half of the common places, and some always stay for a store that comes later. The rule for the
//! common half is that of dynamic thresholds in the shared memory of network switches (Choudhury and Hahne, 1998).

/// The rule for one kind of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareRule {
    guaranteed: usize,
    common: usize,
    places: usize,
}

impl ShareRule {
    /// Shares so many places among so many stores.
    #[must_use]
    pub fn new(places: usize, stores: usize) -> Self {
        let shares = stores.saturating_add(1);
        let guaranteed = places / 2 / shares;
        Self {
            guaranteed,
            common: places - guaranteed * shares,
            places,
        }
    }

    /// Whether a store that holds so many places gets another, when all stores together hold `total`.
    #[must_use]
    pub fn has_room(self, held: usize, total: usize) -> bool {
        held < self.guaranteed || held < self.common.saturating_sub(total)
    }

    /// Whether one gets another that may hold nothing but common places.
    #[must_use]
    pub fn has_common_room(self, held: usize, total: usize) -> bool {
        held < self.common.saturating_sub(total)
    }

    /// How many places every store gets for certain.
    #[must_use]
    pub fn guaranteed(self) -> usize {
        self.guaranteed
    }

    /// How many places there are.
    #[must_use]
    pub fn places(self) -> usize {
        self.places
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lets each store take as many places as it gets, in turn.
    fn filled(rule: ShareRule, greedy: usize) -> (Vec<usize>, usize) {
        let (mut held, mut total) = (vec![0; greedy], 0);
        loop {
            let before = total;
            for store in &mut held {
                if rule.has_room(*store, total) {
                    *store += 1;
                    total += 1;
                }
            }
            if total == before {
                return (held, total);
            }
        }
    }

    proptest! {
        #[test]
        fn no_store_takes_the_share_of_another_and_nobody_takes_more_than_there_is(
            places in 1_usize..5_000, stores in 1_usize..60, greedy in 1_usize..60
        ) {
            let rule = ShareRule::new(places, stores);
            let greedy = greedy.min(stores);
            let (held, mut total) = filled(rule, greedy);
            prop_assert!(total <= places);
            // Every other store still gets its share, whatever was taken before.
            for _ in greedy..=stores {
                for held in 0..rule.guaranteed() {
                    prop_assert!(rule.has_room(held, total));
                    total += 1;
                }
            }
            prop_assert!(total <= places);
            let (least, most) = (held.iter().min().unwrap(), held.iter().max().unwrap());
            prop_assert!(most - least <= 1, "who asks as often gets as much: {:?}", held);
        }
    }

    #[test]
    fn one_store_leaves_room_and_many_take_less_each() {
        let rule = ShareRule::new(400_000, 5_000);
        assert_eq!(rule.guaranteed(), 39);
        let (one, total) = filled(rule, 1);
        assert_eq!((one[0], total), (102_481, 102_481));
        assert!(
            rule.has_room(50_000, total),
            "a second store gets as many again"
        );
        let (many, total) = filled(rule, 37);
        assert!(
            many.iter().all(|held| (5_390..=5_400).contains(held)),
            "{many:?}"
        );
        assert!(rule.has_room(0, total) && !rule.has_room(6_000, total));
        // Where there are fewer places than stores, nothing is guaranteed, and there is still room for the next.
        let (held, total) = filled(ShareRule::new(8, 1_000), 1);
        assert_eq!((held[0], total), (4, 4));
    }
}
