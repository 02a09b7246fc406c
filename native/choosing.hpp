// The likeliest of a vocabulary.
#pragma once

#include <cmath>
#include <limits>

#include "kernels.hpp"
#include "lanes.hpp"

namespace stemma {
namespace {

// Sixteen logits; what lies behind the last one is never chosen and adds nothing.
inline Lanes some(const float* logits, int at, int size) {
  if (at + kLanes <= size) return load(logits + at);
  Lanes lanes = all(-std::numeric_limits<float>::infinity());
  for (int i = 0; at + i < size; ++i) lanes[i] = logits[at + i];
  return lanes;
}

inline Chosen choose(const float* logits, int size) {
  Lanes largest = some(logits, 0, size);
  Integers numbers = largest == largest;
  for (int at = kLanes; at < size; at += kLanes) {
    const Lanes x = some(logits, at, size);
    numbers &= x == x;
    largest = larger(largest, x);
  }
  const float most = maximum(largest);
  Lanes totals[2] = {};
  for (int at = 0; at < size; at += kLanes) totals[at / kLanes % 2] += exponential(some(logits, at, size) - most);
  const bool usable = sum(numbers) == -kLanes && std::fabs(most) <= std::numeric_limits<float>::max();
  int token = 0;
  while (usable && logits[token] != most) ++token;
  return {token, usable ? -std::log(sum(totals[0] + totals[1])) : std::numeric_limits<float>::quiet_NaN()};
}

}  // namespace
}  // namespace stemma
