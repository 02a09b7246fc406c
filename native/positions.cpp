#include "positions.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace stemma {
namespace {

// A geometric row from 2^(-8/n) to 2^-8, n the power of two that is at most n_heads; heads beyond it take every other
// one of the row for 2n (their code, and BLOOM's).
double slope(int head, int n_heads) {
  const int power = int(std::bit_floor(unsigned(n_heads)));
  if (head < power) return std::exp2(-8.0 * (head + 1) / power);
  return std::exp2(-4.0 * (2 * (head - power) + 1) / power);
}

// Exact when near, logarithmic when far; in single precision as in T5's code, lest distances on an edge move.
int bucket(int distance, int n_buckets, int max_distance) {
  const int exact = n_buckets / 2;
  if (distance < exact) return distance;
  const float ratio = std::log(float(distance) / float(exact)) / float(std::log(double(max_distance) / exact));
  return std::min(n_buckets - 1, exact + int(ratio * float(n_buckets - exact)));
}

}  // namespace

void add_waves(Layout layout, int position, int width, float* to) {
  for (int pair = 0; pair < width / 2; ++pair) {
    const double angle = position * std::pow(10'000.0, -2.0 * pair / width);
    const bool halves = layout == Layout::halves;
    to[halves ? pair : 2 * pair] += float(std::sin(angle));
    to[halves ? width / 2 + pair : 2 * pair + 1] += float(std::cos(angle));
  }
}

void Rotation::set(const Spec& spec, int position) {
  layout_ = spec.layout;
  const int pairs = spec.d_rotary / 2;
  cosine_.resize(pairs);
  sine_.resize(pairs);
  for (int pair = 0; pair < pairs; ++pair) {
    const float rate = float(std::pow(spec.base, -2.0 * pair / spec.d_rotary)), angle = float(position) * rate;
    cosine_[pair] = std::cos(angle);
    sine_[pair] = std::sin(angle);
  }
}

void Rotation::turn(float* head) const {
  const int pairs = int(cosine_.size()), step = layout_ == Layout::halves ? 1 : 2;
  const int apart = layout_ == Layout::halves ? pairs : 1;
  for (int pair = 0; pair < pairs; ++pair) {
    float &first = head[pair * step], &second = head[pair * step + apart];
    const float turned = first * cosine_[pair] - second * sine_[pair];
    second = second * cosine_[pair] + first * sine_[pair];
    first = turned;
  }
}

DistanceBias::DistanceBias(const Spec& spec, std::span<const float> table, int capacity)
    : capacity_(capacity), stride_(capacity + kLanes) {
  values_.reserve(std::size_t(stride_) * spec.n_heads);
  for (int head = 0; head < spec.n_heads; ++head)
    for (int distance = 0; distance < capacity; ++distance) {
      const bool alibi = spec.position == PositionKind::alibi;
      values_.data()[head * stride_ + capacity - 1 - distance] =
          alibi ? float(-spec.slope_scale * slope(head, spec.n_heads) * distance)
                : table[std::size_t(bucket(distance, spec.n_buckets, spec.max_distance)) * spec.n_heads + head];
    }
}

const float* DistanceBias::row(int head, int position) const {
  return capacity_ ? values_.data() + head * stride_ + capacity_ - 1 - position : nullptr;
}

}  // namespace stemma
