#include "whole.hpp"

#include <immintrin.h>

#include <algorithm>
#include <cmath>

namespace stemma {
namespace {

constexpr int kLanes = 16;
// Queries that are scored together: their sums fill the registers.
constexpr int kRows = 8;
// From one query's scores to the next: more than the keys, so that rows do not fall on the same lines of the cache.
constexpr int kStep = kMostKeys + 32;

// 2^f, f between -1/2 and 1/2, to 8e-5: half precision keeps less.
inline __m512 exponential(__m512 x) {
  const __m512 power = _mm512_mul_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.f)), _mm512_set1_ps(1.44269504f));
  const __m512 whole = _mm512_roundscale_ps(power, 0), f = _mm512_sub_ps(power, whole);
  __m512 sum = _mm512_set1_ps(0.05517027f);
  for (const float c : {0.24260795f, 0.69326093f, 0.99992828f}) sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(c));
  return _mm512_scalef_ps(sum, whole);
}

// A square of 16 x 16 numbers turned about its diagonal; rows from the n-th on are nothing.
inline void turn(const std::int32_t* from, std::ptrdiff_t row, int n, std::int32_t* to) {
  __m512i a[16], b[16];
  for (int i = 0; i < 16; ++i) a[i] = i < n ? _mm512_loadu_si512(from + i * row) : _mm512_setzero_si512();
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    for (int half = 0; half < 2; ++half) {
      a[i + 2 * half] = _mm512_unpacklo_epi64(b[i + half], b[i + half + 2]);
      a[i + 2 * half + 1] = _mm512_unpackhi_epi64(b[i + half], b[i + half + 2]);
    }
  }
  for (int i = 0; i < 4; ++i) {
    for (int half = 0; half < 16; half += 8) {
      b[i + half] = _mm512_shuffle_i32x4(a[i + half], a[i + half + 4], 0x88);
      b[i + half + 4] = _mm512_shuffle_i32x4(a[i + half], a[i + half + 4], 0xdd);
    }
  }
  for (int i = 0; i < 8; ++i) {
    _mm512_store_si512(to + i * kLanes, _mm512_shuffle_i32x4(b[i], b[i + 8], 0x88));
    _mm512_store_si512(to + (i + 8) * kLanes, _mm512_shuffle_i32x4(b[i], b[i + 8], 0xdd));
  }
}

// The lanes among the next 16 that lie before an end.
inline __mmask16 before(int end) { return end >= kLanes ? 0xffff : end > 0 ? (1u << end) - 1 : 0; }

// Behind the last key that any of the first n queries sees.
inline int behind_shown(const std::uint8_t* shown, std::ptrdiff_t step, int n, int keys) {
  for (int j = (keys - 1) / 64 * 64; j >= 0; j -= 64) {
    const __mmask64 real = keys - j >= 64 ? ~__mmask64{0} : (__mmask64{1} << (keys - j)) - 1;
    __mmask64 seen = 0;
    for (int r = 0; r < n; ++r) {
      const __m512i bytes = _mm512_maskz_loadu_epi8(real, shown + r * step + j);
      seen |= _mm512_test_epi8_mask(bytes, bytes);
    }
    if (seen) return j + 64 - __builtin_clzll(seen);
  }
  return 1;
}

// One head of one text, whose channels come in pairs: what one product of half precision takes at a time.
template <int kPairs>
class Head {
 public:
  Head(const half* key, std::ptrdiff_t key_step, const half* value, std::ptrdiff_t value_step, int keys) : keys_(keys) {
    const int padded = pad(keys);
    for (int j = 0; j < padded; j += kLanes)
      for (int p = 0; p < kPairs; p += kLanes)
        turn(reinterpret_cast<const std::int32_t*>(key + j * key_step) + p, key_step / 2, keys - j,
             turned_ + (j / kLanes * kPairs + p) * kLanes);
    for (int j = 0; j < padded; j += 2) {
      for (int c = 0; c < kVectors; ++c) {
        const __m512i even = widened(value, value_step, j, c), odd = widened(value, value_step, j + 1, c);
        _mm512_store_si512(paired_ + (j / 2 * kVectors + c) * kLanes, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
      }
    }
  }

  void mix(const half* query, std::ptrdiff_t query_step, int n, float scale, const std::uint8_t* shown,
           std::ptrdiff_t shown_step, half* mixed, std::ptrdiff_t mixed_step) {
    for (int r = 0; r < kRows; ++r) {
      const auto* from = reinterpret_cast<const std::int32_t*>(query + std::min(r, n - 1) * query_step);
      for (int p = 0; p < kPairs; ++p) asked_[p * kRows + r] = from[p];
    }
    padded_ = pad(shown == nullptr ? keys_ : behind_shown(shown, shown_step, n, keys_));
    score(n, scale, shown, shown_step);
    for (int r = 0; r < kRows; ++r) share(r);
    for (int c = 0; c < kVectors; c += 2) gather(n, c, mixed, mixed_step);
  }

 private:
  static constexpr int kVectors = kPairs * 2 / kLanes;

  static int pad(int keys) { return (keys + 31) / 32 * 32; }

  __m512i widened(const half* value, std::ptrdiff_t step, int j, int c) const {
    if (j >= keys_) return _mm512_setzero_si512();
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(value + j * step + c * kLanes)));
  }

  // Two vectors of sums for each query: of its pairs with what two vectors hold, over `count` of them.
  template <class Left, class Right>
  static void multiply(int count, Left left, Right right, __m512 (&a)[kRows], __m512 (&b)[kRows]) {
    for (int r = 0; r < kRows; ++r) a[r] = b[r] = _mm512_setzero_ps();
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) {
      const auto x = (__m512bh)_mm512_load_si512(right(i, 0)), y = (__m512bh)_mm512_load_si512(right(i, 1));
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const auto pair = (__m512bh)_mm512_set1_epi32(*left(i, r));
        a[r] = _mm512_dpbf16_ps(a[r], pair, x);
        b[r] = _mm512_dpbf16_ps(b[r], pair, y);
      }
    }
  }

  void score(int n, float scale, const std::uint8_t* shown, std::ptrdiff_t shown_step) {
    const __m512 none = _mm512_set1_ps(-INFINITY), factor = _mm512_set1_ps(scale);
    for (int r = 0; r < kRows; ++r) most_[r] = none;
    for (int j = 0; j < padded_; j += 2 * kLanes) {
      __m512 sums[2][kRows];
      const std::int32_t* keys = turned_ + j * kPairs;
      multiply(
          kPairs, [&](int p, int r) { return asked_ + p * kRows + r; },
          [&](int p, int second) { return keys + (second * kPairs + p) * kLanes; }, sums[0], sums[1]);
      for (int second = 0; second < 2; ++second) {
        const int first = j + second * kLanes;
        const __mmask16 real = before(keys_ - first);
        for (int r = 0; r < kRows; ++r) {
          __mmask16 seen = real;
          if (shown != nullptr) {
            const __m128i bytes = _mm_maskz_loadu_epi8(real, shown + std::min(r, n - 1) * shown_step + first);
            seen = _mm_mask_test_epi8_mask(real, bytes, bytes);
          }
          const __m512 scaled = _mm512_mask_mul_ps(none, seen, sums[second][r], factor);
          most_[r] = _mm512_max_ps(most_[r], scaled);
          _mm512_store_ps(scores_ + r * kStep + first, scaled);
        }
      }
    }
  }

  // A query's scores become probabilities, but for their sum.
  void share(int r) {
    const __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(most_[r]));
    const float* scores = scores_ + r * kStep;
    auto* shares = reinterpret_cast<half*>(shares_) + r * kStep;
    __m512 sum = _mm512_setzero_ps();
    for (int j = 0; j < padded_; j += 2 * kLanes) {
      const __m512 x = exponential(_mm512_sub_ps(_mm512_load_ps(scores + j), top));
      const __m512 y = exponential(_mm512_sub_ps(_mm512_load_ps(scores + j + kLanes), top));
      sum = _mm512_add_ps(sum, _mm512_add_ps(x, y));
      _mm512_store_si512(shares + j, (__m512i)_mm512_cvtne2ps_pbh(y, x));
    }
    over_[r] = 1.f / _mm512_reduce_add_ps(sum);
  }

  void gather(int n, int c, half* mixed, std::ptrdiff_t mixed_step) {
    __m512 a[kRows], b[kRows];
    multiply(
        padded_ / 2, [&](int j, int r) { return shares_ + r * (kStep / 2) + j; },
        [&](int j, int second) { return paired_ + (j * kVectors + c + second) * kLanes; }, a, b);
    for (int r = 0; r < n; ++r) {
      const __m512 over = _mm512_set1_ps(over_[r]);
      const auto both = _mm512_cvtne2ps_pbh(_mm512_mul_ps(b[r], over), _mm512_mul_ps(a[r], over));
      _mm512_storeu_si512(mixed + r * mixed_step + c * kLanes, (__m512i)both);
    }
  }

  int keys_, padded_;  // those of the text; those that the queries at hand need
  float over_[kRows];
  __m512 most_[kRows];
  alignas(64) std::int32_t turned_[kMostKeys * kPairs];  // 16 keys: a vector of one pair of each
  alignas(64) std::int32_t paired_[kMostKeys * kPairs];  // two keys: their values channel by channel
  alignas(64) std::int32_t asked_[kPairs * kRows];
  alignas(64) float scores_[kRows * kStep];
  alignas(64) std::int32_t shares_[kRows * kStep / 2];
};

template <int kPairs>
void attend_head(const Whole& w, int text, int head) {
  const int shared = head / (w.heads / w.key_heads);
  Head<kPairs> one(w.key.at(text, shared), w.key.token, w.value.at(text, shared), w.value.token, w.keys);
  for (int i = 0; i < w.queries; i += kRows) {
    const std::uint8_t* shown = w.shown.data == nullptr ? nullptr : w.shown.data + text * w.shown.text + i * w.shown.query;
    one.mix(w.query.at(text, head) + i * w.query.token, w.query.token, std::min(kRows, w.queries - i), w.scale, shown,
            w.shown.query, w.mixed.at(text, head) + i * w.mixed.token, w.mixed.token);
  }
}

struct Work {
  const Whole& whole;
  const Workers& workers;
};

void attend_part(void* given) {
  const auto& [whole, workers] = *static_cast<const Work*>(given);
  const long all = static_cast<long>(whole.texts) * whole.heads, number = workers.all == nullptr ? 0 : workers.number();
  for (long i = all * number / workers.count; i < all * (number + 1) / workers.count; ++i)
    (whole.width == 32 ? attend_head<16> : attend_head<32>)(whole, i / whole.heads, i % whole.heads);
}

}  // namespace

bool attends_whole() { return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw"); }

void attend_whole(const Whole& whole, const Workers& workers) {
  Work work{whole, workers};
  if (workers.all == nullptr) {
    attend_part(&work);
  } else {
    workers.all(attend_part, &work, workers.count, 0);
  }
}

}  // namespace stemma
