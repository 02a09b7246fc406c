// softmax(scale Q K^T + bias) V for one position (Vaswani et al. 2017, section 3.2.1).
#pragma once

#include "kernels.hpp"
#include "lanes.hpp"

namespace stemma {
namespace {

constexpr float kHidden = -1e30f;
constexpr int kLine = 64;     // bytes of a line of the caches
constexpr int kTogether = 4;  // queries for which a key or value is loaded once

// Sums that are added to in turn, so that one addition need not wait for the last.
template <int n>
struct Sums {
  static constexpr int chains = n > 2 ? 2 : 4;
  Lanes parts[chains][n] = {};

  Lanes total(int i) const {
    Lanes total = parts[0][i] + parts[1][i];
    for (int chain = 2; chain < chains; ++chain) total += parts[chain][i];
    return total;
  }
};

// Products of sixteen slots' keys with `n` queries.
template <int n, class Element>
Sums<n> score(const Attending& a, const float* queries, const Element* keys, const Element* values, int block) {
  Sums<n> sums;
  const Element* key = keys + std::size_t(block) * kLanes * a.width;
  const Element* value = values + std::size_t(block) * kLanes * a.width;
  for (int channel = 0; channel < a.width; channel += sums.chains)
    for (int chain = 0; chain < sums.chains; ++chain) {
      const std::ptrdiff_t at = (channel + chain) * kLanes;
      const Lanes slots = load(key + at);
      // Two blocks of keys further, and the values that will be mixed: half of the time would be waiting for them.
      if (sizeof(Element) * kLanes == kLine || chain % 2 == 0) {
        __builtin_prefetch(key + at + 2 * kLanes * a.width, 0, 2);
        __builtin_prefetch(value + at, 0, 2);
      }
      for (int i = 0; i < n; ++i) sums.parts[chain][i] += slots * queries[i * a.width + channel + chain];
    }
  return sums;
}

inline Lanes hide_outside(Lanes scores, int slot, int first, int last) {
  Integers slots;
  for (int i = 0; i < kLanes; ++i) slots[i] = slot + i;
  return (slots >= first) & (slots < last) ? scores : all(kHidden);
}

// Scores become probabilities, but for a factor, which is given back.
inline float soften(float* scores, int begin, int end, float largest) {
  Lanes total{};
  for (int slot = begin; slot < end; slot += kLanes) {
    const Lanes power = exponential(load(scores + slot) - largest);
    store(scores + slot, power);
    total += power;
  }
  return 1.0f / sum(total);
}

template <int n, class Element>
void mix(const Attending& a, const float* weights, int room, const float (&factors)[n], const Element* values,
         float* output) {
  for (int channel = 0; channel < a.width; channel += kLanes) {
    Sums<n> sums;
    const auto add = [&](int slot, int chain) {
      const Lanes value = load(values + std::size_t(slot) * a.width + channel);
      for (int i = 0; i < n; ++i) sums.parts[chain][i] += value * weights[std::size_t(i) * room + slot];
    };
    int slot = a.first;
    for (; slot + sums.chains <= a.last; slot += sums.chains)
      for (int chain = 0; chain < sums.chains; ++chain) add(slot + chain, chain);
    for (; slot < a.last; ++slot) add(slot, 0);
    for (int i = 0; i < n; ++i) store(output + i * a.width + channel, sums.total(i) * factors[i]);
  }
}

template <int n, class Element>
void attend_together(const Attending& a, int query, const Element* keys, const Element* values) {
  const int begin = a.first / kLanes * kLanes, end = round_up(a.last, kLanes), room = end;
  const float* queries = a.queries + query * a.width;
  const float* bias = a.bias ? a.bias + query * a.bias_stride : nullptr;
  Lanes largest[n];
  for (auto& lanes : largest) lanes = all(kHidden);
  for (int slot = begin; slot < end; slot += kLanes) {
    const Sums<n> scores = score<n>(a, queries, keys, values, slot / kLanes);
    for (int i = 0; i < n; ++i) {
      Lanes scored = scores.total(i) * a.scale;
      if (bias) scored += load(bias + i * a.bias_stride + slot);
      if (slot < a.first || slot + kLanes > a.last) scored = hide_outside(scored, slot, a.first, a.last);
      store(a.scores + std::size_t(i) * room + slot, scored);
      largest[i] = larger(largest[i], scored);
    }
  }
  float factors[n];
  for (int i = 0; i < n; ++i) factors[i] = soften(a.scores + std::size_t(i) * room, begin, end, maximum(largest[i]));
  mix<n>(a, a.scores, room, factors, values, a.output + query * a.width);
}

template <class Element, int n = kTogether>
void attend_all(const Attending& a, int query = 0) {
  const auto* keys = static_cast<const Element*>(a.keys);
  const auto* values = static_cast<const Element*>(a.values);
  for (; query + n <= a.n_queries; query += n) attend_together<n>(a, query, keys, values);
  if constexpr (n > 1)
    if (query < a.n_queries) attend_all<Element, n - 1>(a, query);
}

inline void attend(const Attending& a) { return a.precise ? attend_all<float>(a) : attend_all<std::uint16_t>(a); }

}  // namespace
}  // namespace stemma
