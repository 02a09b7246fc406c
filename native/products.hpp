// Products of a packed matrix with a few rows of integers, and of one in single precision with rows of floats.
//
// An instruction set says, as the template argument `Set`,
//   Set::tile                  how many rows of x are multiplied at once: as many as its registers hold
//   Set::halves(p)             sixteen numbers in half precision as Lanes
//   Set::dot<bits, n, planes>(p, x)   for each plane of each of n rows, sixteen sums of a group's codes at p times the 32
//                              integers at x + apart<n>(i)
//   Set::raised                whether 8-bit codes are taken as they are stored, 128 too high
#pragma once

#include <limits>

#include "kernels.hpp"
#include "lanes.hpp"

namespace stemma {
namespace {

constexpr int kAhead = 2560;  // bytes

// From the first of n rows' codes to those of the i-th, the second plane's counted behind the first's.
template <int n>
constexpr int apart(int i) {
  return i / n * Codes::kPlane + i % n * kGroup;
}

template <class Set, int bits, int n, int planes>
void multiply_tile(const std::uint8_t* block, const Codes& x, const float* bias, const Rows& out, int to) {
  Lanes totals[n];
  for (auto& total : totals) total = bias ? load(bias) : Lanes{};
  const int groups = x.groups();
  const std::int8_t* codes = x.codes(0, 0);
  const std::size_t from = x.at(0, 0);
  const float *scales = x.all_scales + from, *shifts = x.all_shifts + from;
  const std::int32_t* lifts = x.all_lifts + from;
  for (int at = 0; at < groups; at += 2, block += block_bytes(bits)) {
    // Where each block is worked on for long, the next ones are asked for in time: 15% on two cores; for one row nothing.
    if constexpr (n >= 4)
      for (int line = 0; line < block_bytes(bits); line += 64) __builtin_prefetch(block + kAhead + line, 0, 2);
    const auto* halves = reinterpret_cast<const std::uint16_t*>(block);
    for (int second = 0; second < 2; ++second) {
      // A second plane is multiplied like further rows.
      Integers sums[n * planes];
      Set::template dot<bits, n, planes>(block + codes_at(bits) + second * group_bytes(bits), codes, sums);
      const Lanes scale = Set::halves(halves + second * kLanes);
      for (int i = 0; i < n; ++i) {
        Integers product = planes == 2 ? sums[i] * kRadix + sums[n * (planes - 1) + i] : sums[i];
        if constexpr (bits == 8 && Set::raised) product -= lifts[i];
        totals[i] += floats(product) * (scale * scales[i]);
      }
      if constexpr (bits == 4) {
        const Lanes minimum = Set::halves(halves + (2 + second) * kLanes);
        for (int i = 0; i < n; ++i) totals[i] += minimum * shifts[i];
      }
      codes += planes * Codes::kPlane;
      scales += kBundle;
      shifts += kBundle;
      lifts += kBundle;
    }
  }
  for (int i = 0; i < n; ++i) store(out[i] + to, totals[i]);
}

// The rows in tiles, the last one smaller.
template <class Set, int bits, int n = Set::tile>
void multiply_block(const std::uint8_t* block, const Codes& x, const float* bias, const Rows& out, int to) {
  int row = 0;
  for (; row + n <= x.count; row += n)
    (x.planes == 2 ? multiply_tile<Set, bits, n, 2> : multiply_tile<Set, bits, n, 1>)(block, x.part(row, n), bias,
                                                                                      out.part(row, n), to);
  if constexpr (n > 1)
    if (const int left = x.count - row; left > 0)
      multiply_block<Set, bits, n - 1>(block, x.part(row, left), bias, out.part(row, left), to);
}

inline float dot(const float* a, const float* b, int width) {
  Lanes totals[4] = {};
  for (int at = 0; at < width; at += 4 * kLanes)
    for (int i = 0; i < 4; ++i) totals[i] += load(a + at + i * kLanes) * load(b + at + i * kLanes);
  return sum((totals[0] + totals[1]) + (totals[2] + totals[3]));
}

template <class Set>
void multiply(const Matrix& matrix, const Rows& x, const Codes& codes, const float* bias, const Rows& out, int first,
              int last) {
  for (int block = first; block < last; ++block) {
    const int to = block * kLanes;
    const float* offset = bias ? bias + to : nullptr;
    if (matrix.bits() == 4) {
      multiply_block<Set, 4>(matrix.block(block), codes, offset, out, to);
    } else if (matrix.bits() == 8) {
      multiply_block<Set, 8>(matrix.block(block), codes, offset, out, to);
    } else {
      for (int row = to; row < to + kLanes && row < matrix.rows(); ++row)
        for (int i = 0; i < x.count; ++i)
          out[i][row] = dot(matrix.values(row), x[i], x.stride) + (bias ? bias[row] : 0.0f);
    }
  }
}

constexpr float kLargestFloat = std::numeric_limits<float>::max();

inline void put(std::int8_t* codes, Lanes first, Lanes second) {
  store(codes, integers(first));
  store(codes + kLanes, integers(second));
}

// Groups [begin, end) of each row. The largest of a group becomes the largest code. Where one is infinite or no number,
// so is the scale, and all codes are zero: what they are multiplied to is no number then, and does not pass unseen.
inline void quantise(const Rows& x, const Codes& to, int begin, int end) {
  const float radix = float(kRadix), most = to.planes == 2 ? kLargestCode * radix : float(kLargestCode);
  for (int row = 0; row < x.count; ++row)
    for (int group = begin; group < end; ++group) {
      const float* from = x[row] + group * kGroup;
      const Lanes low = load(from), high = load(from + kLanes);
      const float largest = largest_size(low, high), inverse = most / largest;
      const bool usable = inverse > 0.0f && inverse <= kLargestFloat;
      const Lanes first = usable ? rounded(low * inverse) : Lanes{},
                  second = usable ? rounded(high * inverse) : Lanes{};
      auto* codes = to.codes(row, group);
      if (to.planes == 2) {
        const Lanes upper_first = rounded(first * (1.0f / radix)), upper_second = rounded(second * (1.0f / radix));
        put(codes, upper_first, upper_second);
        put(codes + Codes::kPlane, first - upper_first * radix, second - upper_second * radix);
      } else {
        put(codes, first, second);
      }
      const std::int32_t total = sum(integers(first) + integers(second));
      const std::size_t at = to.at(row, group);
      to.all_lifts[at] = 128 * total;
      to.all_scales[at] = largest / most;
      to.all_shifts[at] = to.all_scales[at] * float(total);
    }
}

}  // namespace
}  // namespace stemma
