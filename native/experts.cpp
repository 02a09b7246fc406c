#include "experts.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace stemma {

Routing::Routing(int n_experts, int n_active, bool normalised)
    : n_active_(n_active), normalised_(normalised), chosen_(n_experts) {}

void Routing::choose(int item, const float* logits) {
  const int n_experts = int(chosen_.size());
  const float largest = *std::max_element(logits, logits + n_experts);
  std::vector<float> probabilities(n_experts);
  std::vector<int> order(n_experts);
  std::iota(order.begin(), order.end(), 0);
  for (int i = 0; i < n_experts; ++i) {
    probabilities[i] = std::exp(logits[i] - largest);
    // What is not a number must not be sorted.
    if (!(probabilities[i] >= 0.0f)) probabilities[i] = 0.0f;
  }
  std::partial_sort(order.begin(), order.begin() + n_active_, order.end(), [&](int a, int b) {
    return probabilities[a] != probabilities[b] ? probabilities[a] > probabilities[b] : a < b;
  });
  float total = 0.0f;
  for (int i = 0; i < (normalised_ ? n_active_ : n_experts); ++i) total += probabilities[order[i]];
  for (int i = 0; i < n_active_; ++i) chosen_[order[i]].push_back({item, probabilities[order[i]] / total});
}

}  // namespace stemma
