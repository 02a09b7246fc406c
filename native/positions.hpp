// How a decoder knows the order of its tokens.
#pragma once

#include <span>

#include "memory.hpp"
#include "spec.hpp"

namespace stemma {

// sin and cos of position / 10000^(2i/width), added to a vector (Vaswani et al. 2017, section 3.5).
void add_waves(Layout layout, int position, int width, float* to);

// Pairs of a head's first channels turned by position * base^(-2i/width) (Su et al. 2021, section 3.2.2).
class Rotation {
 public:
  void set(const Spec& spec, int position);
  void turn(float* head) const;

 private:
  Layout layout_ = Layout::halves;
  std::vector<float> cosine_, sine_;
};

// What is added to a head's scores, by distance: ALiBi (Press et al. 2022, section 3) or buckets (Raffel et al.
// 2020, 2.1). Distances lie in falling order, so that a query's row is a piece of the table; sixteen floats beyond it
// can be read.
class DistanceBias {
 public:
  DistanceBias() = default;
  // `table` holds n_buckets x n_heads numbers; ALiBi needs none.
  DistanceBias(const Spec& spec, std::span<const float> table, int capacity);

  // That of slot 0 for a query at `position`; null where there is no bias.
  const float* row(int head, int position) const;
  std::ptrdiff_t stride() const { return stride_; }

 private:
  Buffer values_;
  int capacity_ = 0;
  std::ptrdiff_t stride_ = 0;
};

}  // namespace stemma
