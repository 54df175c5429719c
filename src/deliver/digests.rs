//! MD5 of several messages at once: each step is done for all of them before the next, which the vectors of a CPU do in
//! one go. One after the other, MD5 is the largest cost of a joined record by far. Knows no records.
//! Invariant: the digests are those of the `md-5` crate.

use md5::{Digest as _, Md5};

/// Messages at once, at most.
pub(super) const LANES: usize = 16;
/// Fewer than this are faster one by one.
const FEW: usize = 3;

type Word<const N: usize> = [u32; N];

/// The digest of each message, in their order.
pub(super) fn md5(messages: &[&[u8]]) -> Vec<[u8; 16]> {
    let (groups, arch) = (messages.chunks(LANES), pulp::Arch::new());
    let digests = groups.map(|group| match group.len() {
        0..FEW => one_by_one(group),
        FEW..5 => arch.dispatch(Together::<4>(group)),
        5..9 => arch.dispatch(Together::<8>(group)),
        _ => arch.dispatch(Together::<LANES>(group)),
    });
    digests.flatten().collect()
}

fn one_by_one(messages: &[&[u8]]) -> Vec<[u8; 16]> {
    messages.iter().map(|message| Md5::digest(message).into()).collect()
}

/// A message, and its last blocks with the padding in them.
struct Padded<'a> {
    message: &'a [u8],
    /// Blocks that the message fills.
    whole: usize,
    /// All of its blocks.
    blocks: usize,
    end: [u8; 128],
}

impl<'a> Padded<'a> {
    #[expect(clippy::inline_always, reason = "only what is part of the dispatched function gets its vectors")]
    #[inline(always)]
    fn new(message: &'a [u8]) -> Self {
        let (whole, blocks) = (message.len() / 64, (message.len() + 8) / 64 + 1);
        let rest = &message[whole * 64..];
        let mut end = [0; 128];
        end[..rest.len()].copy_from_slice(rest);
        end[rest.len()] = 0x80;
        let last = (blocks - whole) * 64;
        end[last - 8..last].copy_from_slice(&(message.len() as u64 * 8).to_le_bytes());
        Self { message, whole, blocks, end }
    }

    /// Block `at`; behind the last one, any.
    #[expect(clippy::inline_always, reason = "only what is part of the dispatched function gets its vectors")]
    #[inline(always)]
    fn block(&self, at: usize) -> &[u8; 64] {
        let block = match at.checked_sub(self.whole) {
            None => &self.message[at * 64..][..64],
            Some(at) => &self.end[at.min(1) * 64..][..64],
        };
        block.try_into().expect("64 bytes")
    }
}

/// The digests of at most `N` messages. No closure: whether that becomes part of the dispatched function is left to the
/// compiler.
struct Together<'a, const N: usize>(&'a [&'a [u8]]);

impl<const N: usize> pulp::NullaryFnOnce for Together<'_, N> {
    type Output = Vec<[u8; 16]>;

    #[expect(clippy::inline_always, reason = "only what is part of the dispatched function gets its vectors")]
    #[inline(always)]
    fn call(self) -> Self::Output {
        together::<N>(self.0)
    }
}

#[expect(clippy::inline_always, reason = "only what is part of the dispatched function gets its vectors")]
#[inline(always)]
fn together<const N: usize>(messages: &[&[u8]]) -> Vec<[u8; 16]> {
    let padded: [Padded<'_>; N] =
        std::array::from_fn(|lane| Padded::new(messages.get(lane).copied().unwrap_or_default()));
    let most = padded.iter().map(|message| message.blocks).max().unwrap_or(0);
    let mut state = [[0x6745_2301; N], [0xefcd_ab89; N], [0x98ba_dcfe; N], [0x1032_5476; N]];
    let mut digests = [[0; 16]; N];
    for at in 0..most {
        let mut words = [[0; N]; 16];
        for (lane, message) in padded.iter().enumerate() {
            let block = message.block(at);
            for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
                word[lane] = u32::from_le_bytes(*bytes);
            }
        }
        compress(&mut state, &words);
        for (lane, message) in padded.iter().enumerate() {
            if at + 1 == message.blocks {
                for (bytes, word) in digests[lane].as_chunks_mut::<4>().0.iter_mut().zip(&state) {
                    *bytes = word[lane].to_le_bytes();
                }
            }
        }
    }
    digests[..messages.len()].to_vec()
}

/// `floor(2^32 * abs(sin(i + 1)))`, RFC 1321.
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// By how much each step of a round turns.
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

#[expect(clippy::inline_always, reason = "only what is part of the dispatched function gets its vectors")]
#[inline(always)]
fn each<const N: usize>(f: impl Fn(usize) -> u32) -> Word<N> {
    std::array::from_fn(f)
}

#[expect(clippy::inline_always, reason = "only what is part of the dispatched function gets its vectors")]
#[expect(clippy::many_single_char_names, reason = "the names of RFC 1321")]
#[inline(always)]
fn compress<const N: usize>(state: &mut [Word<N>; 4], words: &[Word<N>; 16]) {
    let [mut a, mut b, mut c, mut d] = *state;
    for step in 0..64 {
        let (f, word): (Word<N>, usize) = match step / 16 {
            0 => (each(|i| d[i] ^ (b[i] & (c[i] ^ d[i]))), step),
            1 => (each(|i| c[i] ^ (d[i] & (b[i] ^ c[i]))), 5 * step + 1),
            2 => (each(|i| b[i] ^ c[i] ^ d[i]), 3 * step + 5),
            _ => (each(|i| c[i] ^ (b[i] | !d[i])), 7 * step),
        };
        let (m, turn) = (&words[word % 16], TURNS[step / 16][step % 4]);
        let sum: Word<N> = each(|i| a[i].wrapping_add(f[i]).wrapping_add(SINES[step]).wrapping_add(m[i]));
        (a, d, c, b) = (d, c, b, each(|i| b[i].wrapping_add(sum[i].rotate_left(turn))));
    }
    for (word, new) in state.iter_mut().zip([a, b, c, d]) {
        *word = each(|i| word[i].wrapping_add(new[i]));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(messages: &[Vec<u8>]) {
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        assert_eq!(md5(&messages), one_by_one(&messages));
    }

    #[test]
    fn every_length_around_the_blocks_is_padded_as_it_must_be() {
        let lengths: Vec<Vec<u8>> = (0..200).map(|len| (0..len).collect()).collect();
        check(&lengths);
        for together in 1..=LANES {
            lengths.windows(together).step_by(7).for_each(check);
        }
    }

    proptest! {
        #[test]
        fn many_digests_are_as_one(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 0..30)) {
            check(&messages);
        }
    }
}
