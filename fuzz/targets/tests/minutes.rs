//! Each target for a few seconds, with mutations of its seeds, always the same ones. `CORTEN_FUZZ_SECONDS` makes it
//! longer.

use std::time::{Duration, Instant};

use corten_fuzz_targets::TARGETS;

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Words that are more likely than bytes to come through a parser.
const WORDS: [&str; 24] = [
    "null",
    "true",
    "-1",
    "0",
    "1e400",
    "18446744073709551615",
    "9223372036854775808",
    "\"\"",
    "[]",
    "{}",
    "[[[[",
    "\"\\u0000\"",
    "\"../..\"",
    "\"/\"",
    ",",
    "}",
    "]",
    "\\",
    "\u{0}",
    "SCMP_ACT_NOTIFY",
    "CAP_SYS_ADMIN",
    "4294967295",
    "\"user\"",
    "/proc/self",
];

fn mutate(random: &mut Random, mut data: Vec<u8>, other: &[u8]) -> Vec<u8> {
    for _ in 0..=random.below(4) {
        let at = random.below(data.len() + 1);
        let end = (at + random.below(24)).min(data.len());
        match random.below(8) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 if at < data.len() => data[at] = random.next() as u8,
            2 => drop(data.drain(at..end)),
            3 => {
                let piece = data[at..end].to_vec();
                let to = random.below(data.len() + 1);
                data.splice(to..to, piece);
            }
            4 => {
                let from = random.below(other.len() + 1);
                let to = (from + random.below(64)).min(other.len());
                data.splice(at..end, other[from..to].iter().copied());
            }
            5 | 6 => drop(data.splice(at..end, WORDS[random.below(WORDS.len())].bytes())),
            _ => data.truncate(at.max(data.len() / 2)),
        }
    }
    data
}

#[test]
fn targets_survive_mutations_of_their_seeds() {
    let seconds = std::env::var("CORTEN_FUZZ_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for target in TARGETS {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}", target.name);
        seeds.iter().for_each(|seed| (target.run)(seed));
        let end = Instant::now() + Duration::from_secs(seconds);
        for round in (0..).take_while(|_| Instant::now() < end) {
            let (seed, other) = (&seeds[round % seeds.len()], &seeds[random.below(seeds.len())]);
            let data = mutate(&mut random, seed.clone(), other);
            let outcome = std::panic::catch_unwind(|| (target.run)(&data));
            assert!(outcome.is_ok(), "{}, round {round}: {:?}", target.name, String::from_utf8_lossy(&data));
        }
    }
}

#[test]
fn every_target_has_a_program_for_the_fuzzer() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let manifest = std::fs::read_to_string(format!("{directory}/Cargo.toml")).unwrap();
    for target in TARGETS {
        let program = format!("{directory}/fuzz_targets/{}.rs", target.name);
        let text = std::fs::read_to_string(&program).unwrap();
        assert!(text.contains(&format!("run(\"{}\", data)", target.name)), "{program}");
        assert!(manifest.contains(&format!("name = \"{}\"\n", target.name)), "{}", target.name);
    }
}
