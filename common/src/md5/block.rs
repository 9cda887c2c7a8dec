//! The blocks of one stream, one after the other, and what the lanes share with it: constants and the order of the steps.
//!
//! The crate md-5 does 0.65 GB/s, this 0.8, by what it keeps off the way from one step to the next.

pub type Block = [u8; 64];

pub const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// RFC 1321 section 3.4.
#[rustfmt::skip]
const K: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// The constants of the steps, so that the compiler does not know them. Those that it knows it adds last, when everything
/// waits for the sum; these are added before, while the step before goes on.
pub fn constants() -> &'static [u32; 64] {
    std::hint::black_box(&K)
}

/// Sixteen steps with one of the functions F, G, H and I. Which words they take, and how far they turn, is known when this
/// compiles: the word `first + n * stride` in step n. `step!` is what the caller does in a step.
macro_rules! round {
    ($mix:ident, $a:ident $b:ident $c:ident $d:ident, $words:ident, $k:ident, $at:literal,
     $first:literal + $stride:literal, $turns:tt) => {
        round!(@four $mix, $a $b $c $d, $words, $k, $at, $first, $stride, $turns);
        round!(@four $mix, $a $b $c $d, $words, $k, $at + 4, $first + 4 * $stride, $stride, $turns);
        round!(@four $mix, $a $b $c $d, $words, $k, $at + 8, $first + 8 * $stride, $stride, $turns);
        round!(@four $mix, $a $b $c $d, $words, $k, $at + 12, $first + 12 * $stride, $stride, $turns);
    };
    (@four $mix:ident, $a:ident $b:ident $c:ident $d:ident, $words:ident, $k:ident, $at:expr, $first:expr,
     $stride:literal, ($one:literal $two:literal $three:literal $four:literal)) => {
        step!($mix, $a $b $c $d, $words[($first) % 16], $k[$at], $one);
        step!($mix, $d $a $b $c, $words[($first + $stride) % 16], $k[$at + 1], $two);
        step!($mix, $c $d $a $b, $words[($first + 2 * $stride) % 16], $k[$at + 2], $three);
        step!($mix, $b $c $d $a, $words[($first + 3 * $stride) % 16], $k[$at + 3], $four);
    };
}
pub(super) use round;

/// The sum of a step's function and what was added before. G is a sum of two, so that what does not wait for the step before
/// is added first.
macro_rules! mixed {
    (F, $sum:expr, $x:ident, $y:ident, $z:ident) => {
        $sum.wrapping_add($z ^ ($x & ($y ^ $z)))
    };
    (G, $sum:expr, $x:ident, $y:ident, $z:ident) => {
        $sum.wrapping_add($y & !$z).wrapping_add($x & $z)
    };
    (H, $sum:expr, $x:ident, $y:ident, $z:ident) => {
        $sum.wrapping_add($x ^ ($y ^ $z))
    };
    (I, $sum:expr, $x:ident, $y:ident, $z:ident) => {
        $sum.wrapping_add($y ^ ($x | !$z))
    };
}

macro_rules! step {
    ($mix:ident, $a:ident $b:ident $c:ident $d:ident, $word:expr, $k:expr, $turn:literal) => {
        let added = $a.wrapping_add($word).wrapping_add($k);
        $a = mixed!($mix, added, $b, $c, $d).rotate_left($turn).wrapping_add($b);
    };
}

/// Takes the state over blocks.
pub fn compress(state: &mut [u32; 4], blocks: &[Block]) {
    let k = constants();
    let [mut a, mut b, mut c, mut d] = *state;
    for block in blocks {
        let (words, _) = block.as_chunks();
        let words: [u32; 16] = std::array::from_fn(|at| u32::from_le_bytes(words[at]));
        let (a_before, b_before, c_before, d_before) = (a, b, c, d);
        round!(F, a b c d, words, k, 0, 0 + 1, (7 12 17 22));
        round!(G, a b c d, words, k, 16, 1 + 5, (5 9 14 20));
        round!(H, a b c d, words, k, 32, 5 + 3, (4 11 16 23));
        round!(I, a b c d, words, k, 48, 0 + 7, (6 10 15 21));
        a = a.wrapping_add(a_before);
        b = b.wrapping_add(b_before);
        c = c.wrapping_add(c_before);
        d = d.wrapping_add(d_before);
    }
    *state = [a, b, c, d];
}
