// Sixteen floats as one value. Each instruction set's file includes this and is compiled with flags of its own, so that
// the compiler makes of it one register (AVX-512), two (AVX2) or four (NEON, SSE); hence all names here are internal.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "sizes.hpp"

namespace stemma {
namespace {

using Lanes = float __attribute__((vector_size(4 * kLanes)));
using Integers = std::int32_t __attribute__((vector_size(4 * kLanes)));
using Bytes = std::int8_t __attribute__((vector_size(kLanes)));
using Shorts = std::uint16_t __attribute__((vector_size(2 * kLanes)));

inline Lanes load(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

// bfloat16 is the upper half of a float.
inline Lanes load(const std::uint16_t* from) {
  Shorts upper;
  std::memcpy(&upper, from, sizeof upper);
  return reinterpret_cast<Lanes>(__builtin_convertvector(upper, Integers) << 16);
}

inline void store(float* to, Lanes lanes) { std::memcpy(to, &lanes, sizeof lanes); }

inline Lanes all(float value) { return Lanes{} + value; }

inline Lanes larger(Lanes a, Lanes b) { return a > b ? a : b; }

inline Lanes size_of(Lanes a) { return reinterpret_cast<Lanes>(reinterpret_cast<Integers>(a) & 0x7fffffff); }

// Every lane combined with the one eight further, then four, two and one: what stands in the first is of all.
template <class Vector, class Combine>
inline auto reduce(Vector x, Combine combine) {
  x = combine(x, __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  x = combine(x, __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
  x = combine(x, __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
  x = combine(x, __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
  return x[0];
}

inline float sum(Lanes lanes) {
  return reduce(lanes, [](Lanes a, Lanes b) { return a + b; });
}

inline float maximum(Lanes lanes) {
  return reduce(lanes, [](Lanes a, Lanes b) { return larger(a, b); });
}

inline Integers larger(Integers a, Integers b) { return a > b ? a : b; }

// The largest of their sizes; not a number where one of them is none: as integers, the bits of these are the largest.
inline float largest_size(Lanes a, Lanes b) {
  const auto first = reinterpret_cast<Integers>(size_of(a)), second = reinterpret_cast<Integers>(size_of(b));
  return std::bit_cast<float>(reduce(larger(first, second), [](Integers x, Integers y) { return larger(x, y); }));
}

inline std::int32_t sum(Integers lanes) {
  return reduce(lanes, [](Integers a, Integers b) { return a + b; });
}

// To the nearest whole number: what stands below the ones is lost when this is added.
inline Lanes rounded(Lanes x) {
  const float shift = 12582912.0f;  // 1.5 * 2^23
  return (x + shift) - shift;
}

inline Integers integers(Lanes x) { return __builtin_convertvector(x, Integers); }

inline void store(std::int8_t* to, Integers lanes) {
  const Bytes bytes = __builtin_convertvector(lanes, Bytes);
  std::memcpy(to, &bytes, sizeof bytes);
}

inline Lanes floats(Integers x) { return __builtin_convertvector(x, Lanes); }

// 2^whole * 2^rest, the rest between -1/2 and 1/2 by a polynomial (minimax, relative error 1e-7).
inline Lanes exponential(Lanes x) {
  x = x < -87.0f ? all(-87.0f) : x;
  x = x > 88.0f ? all(88.0f) : x;
  const Lanes scaled = x * 1.44269504f, whole = rounded(scaled), rest = scaled - whole;
  Lanes power = all(1.5345811e-4f);
  for (const float coefficient : {1.3399931e-3f, 9.6184891e-3f, 5.5503286e-2f, 0.24022646f, 0.69314718f, 1.0f})
    power = power * rest + coefficient;
  return reinterpret_cast<Lanes>(reinterpret_cast<Integers>(power) + (integers(whole) << 23));
}

}  // namespace
}  // namespace stemma
