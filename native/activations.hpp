// The non-linear functions of feed-forward networks.
#pragma once

#include "kernels.hpp"
#include "lanes.hpp"

namespace stemma {
namespace {

inline Lanes sigmoid(Lanes x) { return 1.0f / (1.0f + exponential(-x)); }

// Abramowitz and Stegun 7.1.26, within 1.5e-7.
inline Lanes error_function(Lanes x) {
  const Lanes size = size_of(x), t = 1.0f / (1.0f + 0.3275911f * size);
  Lanes series = all(1.061405429f);
  for (const float coefficient : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f})
    series = series * t + coefficient;
  const Lanes value = 1.0f - series * t * exponential(-size * size);
  return x < 0.0f ? -value : value;
}

template <class Function>
void apply(Function f, const float* x, const float* factor, float* out, int size) {
  for (int i = 0; i < size; i += kLanes) {
    const Lanes value = f(load(x + i));
    store(out + i, factor ? value * load(factor + i) : value);
  }
}

inline void activate(Activation f, const float* x, const float* factor, float* out, int size) {
  switch (f) {
    case Activation::relu:
      return apply([](Lanes v) { return v > 0.0f ? v : Lanes{}; }, x, factor, out, size);
    case Activation::gelu:
      return apply([](Lanes v) { return 0.5f * v * (1.0f + error_function(v * 0.70710678f)); }, x, factor, out, size);
    case Activation::gelu_tanh:  // (1 + tanh(u)) / 2 is sigmoid(2 u)
      return apply([](Lanes v) { return v * sigmoid(1.59576912f * (v + 0.044715f * v * v * v)); }, x, factor, out,
                   size);
    case Activation::gelu_sigmoid:
      return apply([](Lanes v) { return v * sigmoid(1.702f * v); }, x, factor, out, size);
    case Activation::silu:
      return apply([](Lanes v) { return v * sigmoid(v); }, x, factor, out, size);
  }
}

}  // namespace
}  // namespace stemma
