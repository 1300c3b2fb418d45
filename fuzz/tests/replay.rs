//! What was found once, and random bytes, for a few seconds; `make fuzz` searches on.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use portolan_fuzz::TARGETS;

/// Longer than any machine takes for one input, but shorter than a hang.
const LONGEST: Duration = Duration::from_secs(20);

fn timed(run: fn(&[u8]), data: &[u8], what: &str) {
    let start = Instant::now();
    run(data);
    assert!(start.elapsed() < LONGEST, "{what} takes {:?}", start.elapsed());
}

#[test]
fn every_input_of_the_corpus_keeps_the_promise() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, run) in TARGETS {
        let mut inputs = 0;
        for entry in fs::read_dir(corpus.join(name)).unwrap() {
            let path = entry.unwrap().path();
            timed(run, &fs::read(&path).unwrap(), &path.display().to_string());
            inputs += 1;
        }
        assert!(inputs > 0, "the corpus of {name} is empty");
        println!("{name}: {inputs} inputs");
    }
}

#[test]
fn each_target_has_a_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut programs: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    programs.sort();
    assert_eq!(programs, TARGETS.map(|(name, _)| name));
}

/// Inputs of the corpus with bytes replaced, left out, and taken from another one.
#[test]
fn what_is_near_the_corpus_keeps_the_promise() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut random = Random(1);
    for (name, run) in TARGETS {
        let mut paths: Vec<_> =
            fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let inputs: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            let mut data = inputs[random.below(inputs.len())].clone();
            let other = &inputs[random.below(inputs.len())];
            for _ in 0..1 + random.below(4) {
                let place = random.below(data.len() + 1);
                let end = place + random.below((data.len() - place).min(8) + 1);
                let from = random.below(other.len() + 1);
                let to = from + random.below((other.len() - from).min(32) + 1);
                match random.below(3) {
                    0 => drop(data.splice(place..end, (0..end - place).map(|_| random.below(256) as u8))),
                    1 => drop(data.splice(place..end, other[from..to].iter().copied())),
                    _ => drop(data.drain(place..end)),
                }
            }
            timed(run, &data, &format!("{name}, {}", data.escape_ascii()));
        }
    }
}

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
