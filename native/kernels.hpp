// What depends on the instruction set, and which set is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "matrix.hpp"
#include "sizes.hpp"

namespace stemma {

enum class Activation { relu, gelu, gelu_tanh, gelu_sigmoid, silu };

// Rows of numbers that are about to be multiplied. Padding up to the stride, a multiple of 64, is zero.
struct Rows {
  float* values = nullptr;
  int count = 0, stride = 0;

  float* operator[](int row) const { return values + std::size_t(row) * stride; }
  Rows part(int first, int rows) const { return {(*this)[first], rows, stride}; }
};

// The same as integers: values = scale * code, a scale for each group of 32. A code has one byte, or is kRadix times
// one plus another: these others lie in a second plane. Eight rows lie together, group by group and in it plane by
// plane, so that a product finds all that it needs of them at fixed distances from one place.
struct Codes {
  std::int8_t* all_codes;
  float* all_scales;
  std::int32_t* all_lifts;  // 128 times the sum of each group's codes: what codes stored 128 too high add to a product
  float* all_shifts;        // scale * sum: what a minimum is multiplied with
  int count, stride, planes, first = 0;

  int groups() const { return stride / kGroup; }
  Codes part(int skipped, int rows) const {
    Codes its = *this;
    its.first += skipped;
    its.count = rows;
    return its;
  }

  // Where a row's group lies: rows that follow it inside its eight come one by one behind.
  std::size_t at(int row, int group) const {
    row += first;
    return (std::size_t(row / kBundle) * groups() + group) * kBundle + row % kBundle;
  }
  // The first plane of its codes, and how far the others are.
  static constexpr int kPlane = kBundle * kGroup;
  std::int8_t* codes(int row, int group) const {
    const std::size_t place = at(row, group), rows = place / kBundle;
    return all_codes + rows * planes * kPlane + place % kBundle * kGroup;
  }
};

constexpr int kLargestCode = 127, kRadix = 2 * kLargestCode;

// One position's query heads that share a key head, and the slots of the cache that they see: [first, last).
struct Attending {
  const float* queries;  // each of `width` numbers
  float* output;         // of the same shape
  int n_queries, width;
  // Keys lie in blocks of sixteen slots, channel by channel, so that a product serves sixteen slots at once; values lie
  // slot by slot. Both are bfloat16, or float where `precise`.
  const void* keys;
  const void* values;
  bool precise;
  int first, last;
  float scale;
  const float* bias;  // added to the scores of each query, at [query * bias_stride + slot]; may be null
  std::ptrdiff_t bias_stride;
  float* scores;  // room for n_queries * (last + 16)
};

// The likeliest token, the first of equals, and the logarithm of its probability: no number where a logit is none.
struct Chosen {
  int token;
  float logprob;
};

struct Kernels {
  const char* name;
  // out[row][first * 16, last * 16) = matrix x + bias, for blocks of sixteen of the matrix's rows; bias may be null.
  void (*multiply)(const Matrix& matrix, const Rows& x, const Codes& codes, const float* bias, const Rows& out,
                   int first, int last);
  // Groups [first, last) of each row.
  void (*quantise)(const Rows& x, const Codes& to, int first, int last);
  void (*attend)(const Attending& attending);
  // (x - mean) / deviation * gain + offset over `width` numbers, the mean taken as 0 where not `centred`.
  void (*normalise)(const float* x, const float* gain, const float* offset, bool centred, float eps, int width,
                    float* out);
  // f(x) * factor; factor may be null. `size` is a multiple of 16.
  void (*activate)(Activation f, const float* x, const float* factor, float* out, int size);
  Chosen (*choose)(const float* logits, int size);
};

// Those of this processor, the fastest first; the last is portable.
std::vector<std::string> instruction_sets();
const Kernels& kernels();
void use_instruction_set(const std::string& name);

// One a file of isa/; those that were not built for this processor's family are null.
extern const Kernels* const kAvx512;
extern const Kernels* const kAvx2;
extern const Kernels* const kNeon;
extern const Kernels* const kPortable;

}  // namespace stemma
