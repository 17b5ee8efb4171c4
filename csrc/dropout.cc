// The numbers are those of `Stream.keep` (src/handgrad/rng.py), bit for bit: Philox 4x64 with 10 rounds, in the
// order in which NumPy's generator gives them out as float32. J. K. Salmon et al., "Parallel random numbers: as
// easy as 1, 2, 3", SC 2011. Block i is a function of i and the key alone, so any thread can compute it.
#include "dropout.h"

#include "elementwise.h"

namespace handgrad::HG_ISA {

HG_DROPOUT_KERNELS(HG_DECLARE)

namespace {

constexpr int ROUNDS = 10;
constexpr long BLOCK = 8;             // numbers in a block: four words of 64 bits, two numbers each
constexpr long CHUNK = 128 * BLOCK;  // numbers that are drawn before they are used

struct Key {
  uint64_t words[ROUNDS][2];  // a pair for each round
  Key(uint64_t k0, uint64_t k1) {
    for (auto& word : words) {
      word[0] = k0, word[1] = k1;
      k0 += 0x9E3779B97F4A7C15u, k1 += 0xBB67AE8584CAA73Bu;
    }
  }
};

// The whole numbers u*2^24 of one block.
HG_INLINE void draw(const Key& key, uint64_t counter, int32_t* u) {
  typedef unsigned __int128 wide;
  uint64_t c[4] = {counter, 0, 0, 0};
  for (const auto& k : key.words) {
    const wide a = (wide)0xD2E7470EE14C6C93u * c[0], b = (wide)0xCA5A826395121157u * c[2];
    c[0] = (uint64_t)(b >> 64) ^ c[1] ^ k[0], c[1] = (uint64_t)b;
    c[2] = (uint64_t)(a >> 64) ^ c[3] ^ k[1], c[3] = (uint64_t)a;
  }
  for (int i = 0; i < 4; ++i) {
    u[2 * i] = (int32_t)((uint32_t)c[i] >> 8);  // the lower half is given out first
    u[2 * i + 1] = (int32_t)(c[i] >> 40);
  }
}

typedef int8_t bytes __attribute__((vector_size(W)));

HG_INLINE void store_mask(bool* p, ivec kept, long count) {
  const bytes v = __builtin_convertvector(kept, bytes) & 1;
  count == W ? memcpy(p, &v, W) : memcpy(p, &v, count);
}
HG_INLINE ivec load_mask(const bool* p, long count) {
  bytes v = {};
  count == W ? memcpy(&v, p, W) : memcpy(&v, p, count);
  return __builtin_convertvector(v, ivec) != 0;
}

// Numbers are dropped by a product, which NaN passes.
HG_INLINE vec factor(ivec kept, double keep) { return kept ? broadcast((float)(1 / keep)) : vec{}; }

}  // namespace

void dropout(long n, const float* x, uint64_t key0, uint64_t key1, double keep, float* y, bool* mask) {
  const Key key(key0, key1);
  // u < keep as NumPy compares them, in float32: u*2^24 is a whole number, and less than this one
  const int32_t bound = (int32_t)__builtin_ceilf((float)keep * 16777216.f);
  parallel_for((n + CHUNK - 1) / CHUNK, COSTLY / CHUNK, [&](long begin, long end, int) {
    for (long chunk = begin; chunk < end; ++chunk) {
      const long first = chunk * CHUNK, count = smaller(CHUNK, n - first);
      alignas(64) int32_t u[CHUNK];
      for (long i = 0; i < count; i += BLOCK) draw(key, (uint64_t)((first + i) / BLOCK + 1), u + i);
      for (long i = 0; i < count; i += W) {
        const Lanes at{first + i, smaller(W, count - i)};
        const ivec kept = *(const ivec_unaligned*)(u + i) < bound;
        store(y, load(x, at) * factor(kept, keep), at);
        store_mask(mask + at.first, kept, at.count);
      }
    }
  });
}

void dropout_backward(long n, const float* dy, const bool* mask, double keep, float* dx) {
  map(n, CHEAP, dx, [=](Lanes at) {
    return load(dy, at) * factor(load_mask(mask + at.first, at.count), keep);
  });
}

}  // namespace handgrad::HG_ISA
