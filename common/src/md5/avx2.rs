//! Eight blocks of MD5 at once, one in each lane of the vectors of AVX2. Written with the processor's own operations: from
//! plain loops over arrays of eight words the compiler makes code that is no faster than one stream after the other.
//!
//! On a processor with AVX-512, its rotations and three-way logic were tried and gained nothing.

use super::LANES;
use super::block::{Block, constants, round};
use std::arch::x86_64::*;

pub fn is_there() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

/// Takes each state over its blocks, all of the same number. False, and nothing done, on a processor without AVX2.
pub fn compress(states: &mut [[u32; 4]; LANES], data: [&[Block]; LANES]) -> bool {
    if !is_there() {
        return false;
    }
    // SAFETY: `lanes` is safe code, and AVX2, which it is compiled for, was found just now.
    #[allow(unsafe_code)]
    unsafe {
        lanes(states, data);
    }
    true
}

/// F, G, H and I of the RFC.
macro_rules! mix {
    (F, $x:ident, $y:ident, $z:ident) => {
        _mm256_xor_si256($z, _mm256_and_si256($x, _mm256_xor_si256($y, $z)))
    };
    (G, $x:ident, $y:ident, $z:ident) => {
        _mm256_xor_si256($y, _mm256_and_si256($z, _mm256_xor_si256($x, $y)))
    };
    (H, $x:ident, $y:ident, $z:ident) => {
        _mm256_xor_si256($x, _mm256_xor_si256($y, $z))
    };
    (I, $x:ident, $y:ident, $z:ident) => {
        _mm256_xor_si256($y, _mm256_or_si256($x, _mm256_xor_si256($z, _mm256_set1_epi32(-1))))
    };
}

macro_rules! step {
    ($mix:ident, $a:ident $b:ident $c:ident $d:ident, $word:expr, $k:expr, $turn:literal) => {
        let added = _mm256_add_epi32($a, _mm256_add_epi32($word, _mm256_set1_epi32($k as i32)));
        let sum = _mm256_add_epi32(added, mix!($mix, $b, $c, $d));
        let turned = _mm256_or_si256(_mm256_slli_epi32::<$turn>(sum), _mm256_srli_epi32::<{ 32 - $turn }>(sum));
        $a = _mm256_add_epi32($b, turned);
    };
}

#[target_feature(enable = "avx2")]
fn lanes(states: &mut [[u32; 4]; LANES], data: [&[Block]; LANES]) {
    let k = constants();
    let [mut a, mut b, mut c, mut d] = std::array::from_fn(|word| load(std::array::from_fn(|lane| states[lane][word])));
    for at in 0..data[0].len() {
        let words = words(&data, at);
        let (a_before, b_before, c_before, d_before) = (a, b, c, d);
        round!(F, a b c d, words, k, 0, 0 + 1, (7 12 17 22));
        round!(G, a b c d, words, k, 16, 1 + 5, (5 9 14 20));
        round!(H, a b c d, words, k, 32, 5 + 3, (4 11 16 23));
        round!(I, a b c d, words, k, 48, 0 + 7, (6 10 15 21));
        a = _mm256_add_epi32(a, a_before);
        b = _mm256_add_epi32(b, b_before);
        c = _mm256_add_epi32(c, c_before);
        d = _mm256_add_epi32(d, d_before);
    }
    for (word, vector) in [a, b, c, d].into_iter().enumerate() {
        for (state, value) in states.iter_mut().zip(store(vector)) {
            state[word] = value;
        }
    }
}

#[target_feature(enable = "avx2")]
fn load(words: [u32; LANES]) -> __m256i {
    let [a, b, c, d, e, f, g, h] = words.map(|word| word as i32);
    _mm256_setr_epi32(a, b, c, d, e, f, g, h)
}

#[target_feature(enable = "avx2")]
fn store(vector: __m256i) -> [u32; LANES] {
    [
        _mm256_extract_epi32::<0>(vector) as u32,
        _mm256_extract_epi32::<1>(vector) as u32,
        _mm256_extract_epi32::<2>(vector) as u32,
        _mm256_extract_epi32::<3>(vector) as u32,
        _mm256_extract_epi32::<4>(vector) as u32,
        _mm256_extract_epi32::<5>(vector) as u32,
        _mm256_extract_epi32::<6>(vector) as u32,
        _mm256_extract_epi32::<7>(vector) as u32,
    ]
}

/// The sixteen words of eight blocks: a vector for each word, with a lane for each block. No closures here: they are not
/// taken into a function that is compiled for AVX2.
#[target_feature(enable = "avx2")]
fn words(data: &[&[Block]; LANES], at: usize) -> [__m256i; 16] {
    let mut words = [_mm256_setzero_si256(); 16];
    for half in 0..2 {
        let mut rows = [_mm256_setzero_si256(); LANES];
        for lane in 0..LANES {
            rows[lane] = row(&data[lane][at].as_chunks().0[half]);
        }
        let columns = transposed(rows);
        words[half * LANES..][..LANES].copy_from_slice(&columns);
    }
    words
}

/// Half of a block.
#[target_feature(enable = "avx2")]
fn row(bytes: &[u8; 32]) -> __m256i {
    let (words, _) = bytes.as_chunks();
    let word = i32::from_le_bytes;
    _mm256_setr_epi32(
        word(words[0]),
        word(words[1]),
        word(words[2]),
        word(words[3]),
        word(words[4]),
        word(words[5]),
        word(words[6]),
        word(words[7]),
    )
}

/// Rows become columns.
#[target_feature(enable = "avx2")]
fn transposed(rows: [__m256i; LANES]) -> [__m256i; LANES] {
    let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
    let (a0, a1) = (_mm256_unpacklo_epi32(r0, r1), _mm256_unpackhi_epi32(r0, r1));
    let (a2, a3) = (_mm256_unpacklo_epi32(r2, r3), _mm256_unpackhi_epi32(r2, r3));
    let (a4, a5) = (_mm256_unpacklo_epi32(r4, r5), _mm256_unpackhi_epi32(r4, r5));
    let (a6, a7) = (_mm256_unpacklo_epi32(r6, r7), _mm256_unpackhi_epi32(r6, r7));
    let (b0, b1) = (_mm256_unpacklo_epi64(a0, a2), _mm256_unpackhi_epi64(a0, a2));
    let (b2, b3) = (_mm256_unpacklo_epi64(a1, a3), _mm256_unpackhi_epi64(a1, a3));
    let (b4, b5) = (_mm256_unpacklo_epi64(a4, a6), _mm256_unpackhi_epi64(a4, a6));
    let (b6, b7) = (_mm256_unpacklo_epi64(a5, a7), _mm256_unpackhi_epi64(a5, a7));
    const LOW: i32 = 0x20;
    const HIGH: i32 = 0x31;
    [
        _mm256_permute2x128_si256::<LOW>(b0, b4),
        _mm256_permute2x128_si256::<LOW>(b1, b5),
        _mm256_permute2x128_si256::<LOW>(b2, b6),
        _mm256_permute2x128_si256::<LOW>(b3, b7),
        _mm256_permute2x128_si256::<HIGH>(b0, b4),
        _mm256_permute2x128_si256::<HIGH>(b1, b5),
        _mm256_permute2x128_si256::<HIGH>(b2, b6),
        _mm256_permute2x128_si256::<HIGH>(b3, b7),
    ]
}
