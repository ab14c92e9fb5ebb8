//! A small generator of random numbers: the same numbers for the same seed on every machine, forever.

/// How many configurations of a hundred are odd: a refusal ends the comparison, and hides what the rest would show.
const ODD: usize = 25;

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
pub struct Random {
    state: u64,
    odd: bool,
}

impl Random {
    /// The stream of one configuration of a run: it does not depend on how many came before.
    pub fn of(seed: u64, index: u64) -> Self {
        let mut mixed = Random { state: seed, odd: false };
        let first = mixed.next();
        let mut random = Random { state: first ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15), odd: false };
        random.odd = random.percent(ODD);
        random
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// `true` in so many cases of a hundred.
    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// Whether this configuration may ask for what a runtime refuses, or this machine cannot do.
    pub fn is_odd(&self) -> bool {
        self.odd
    }

    /// One of the ordinary values, or, in an odd configuration, often one of the others.
    pub fn usually<T: Clone>(&mut self, ordinary: &[T], odd: &[T]) -> T {
        if self.odd && self.percent(40) { self.pick(odd) } else { self.pick(ordinary) }
    }

    /// One of the list.
    pub fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    /// Up to `most` different entries of the list, in the list's order turned by chance.
    pub fn some<T: Clone>(&mut self, list: &[T], most: usize) -> Vec<T> {
        let mut left = list.to_vec();
        let count = self.below(most + 1).min(left.len());
        (0..count).map(|_| left.swap_remove(self.below(left.len()))).collect()
    }
}
