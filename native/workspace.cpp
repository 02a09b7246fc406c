#include <algorithm>

#include "pass.hpp"

namespace stemma {

void Workspace::Place::reserve(int count, int its_width) {
  width = its_width;
  buffer.reserve(std::size_t(count) * round_up(width, kColumns));
}

void Workspace::reserve(int items, int slots) {
  const Spec& s = spec_;
  for (Place* place : {&stream, &normed, &also, &branch, &asked, &gathered}) place->reserve(items, s.d_model);
  for (Place* place : {&token, &narrow}) place->reserve(items, s.d_embedding);
  inputs.reserve(items, s.d_inputs);
  for (Place* place : {&query, &joined}) place->reserve(items, s.n_heads * s.d_head);
  for (Place* place : {&key, &value}) place->reserve(items, s.n_kv_heads * s.d_head);
  for (Place* place : {&heads, &mixed}) place->reserve(items, s.n_heads * s.width());
  for (Place* place : {&gate, &inner}) place->reserve(items, s.d_ff);
  routed.reserve(items, std::max(1, s.n_experts));
  logits.reserve(items, s.vocab_size);
  rotations.resize(std::max<std::size_t>(rotations.size(), items));

  const int widest = std::max({s.d_model, s.d_ff, s.n_heads * s.d_head, s.d_embedding, s.d_inputs});
  const std::size_t numbers = std::size_t(round_up(items, kBundle)) * round_up(widest, kColumns);
  for (Integers* integers : {&read, &made}) {
    integers->planes = s.planes();
    integers->codes.reserve(s.planes() * numbers / sizeof(float));
    for (Buffer* buffer : {&integers->scales, &integers->sums, &integers->shifts}) buffer->reserve(numbers / kGroup);
  }
  const int together = std::max(1, s.n_heads / s.n_kv_heads);
  scores_room_ = std::max(scores_room_, std::size_t(together) * round_up(slots + kLanes, kColumns));
  scores_.reserve(scores_room_ * Team::the().size());
}

Codes Workspace::Integers::of(const Rows& x) {
  return {reinterpret_cast<std::int8_t*>(codes.data()),
          scales.data(),
          reinterpret_cast<std::int32_t*>(sums.data()),
          shifts.data(),
          x.count,
          x.stride,
          planes};
}

}  // namespace stemma
