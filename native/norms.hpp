// LayerNorm (Ba et al. 2016, section 3) and RMSNorm (Zhang and Sennrich 2019, section 4).
#pragma once

#include <cmath>

#include "lanes.hpp"

namespace stemma {
namespace {

inline void normalise(const float* x, const float* gain, const float* offset, bool centred, float eps, int width,
                      float* out) {
  // What pads x, gain and offset is zero; only the mean must be kept out of it.
  const int padded = round_up(width, kLanes);
  Lanes total{}, squares{};
  if (centred)
    for (int i = 0; i < padded; i += kLanes) total += load(x + i);
  const float mean = sum(total) / float(width);
  for (int i = 0; i < padded; i += kLanes) store(out + i, load(x + i) - mean);
  for (int i = width; i < padded; ++i) out[i] = 0.0f;
  for (int i = 0; i < padded; i += kLanes) squares += load(out + i) * load(out + i);
  const float inverse = 1.0f / std::sqrt(sum(squares) / float(width) + eps);
  for (int i = 0; i < padded; i += kLanes) store(out + i, load(out + i) * inverse * load(gain + i) + load(offset + i));
}

}  // namespace
}  // namespace stemma
