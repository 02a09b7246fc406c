// Which feed-forward networks run for a token (Shazeer et al. 2017, section 2).
#pragma once

#include <vector>

namespace stemma {

struct Choice {
  int item;
  float weight;
};

// For each expert, the items that chose it: each item its `n_active` likeliest, weighted by their probabilities, which
// are scaled to sum to 1 where `normalised`.
class Routing {
 public:
  Routing(int n_experts, int n_active, bool normalised);

  void choose(int item, const float* logits);
  const std::vector<Choice>& of(int expert) const { return chosen_[expert]; }

 private:
  int n_active_;
  bool normalised_;
  std::vector<std::vector<Choice>> chosen_;
};

}  // namespace stemma
