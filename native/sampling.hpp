// The next token from its logits: the likeliest, or one that is drawn.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace stemma {

// Greedy where the temperature is 0; a draw from the `top_k` likeliest (0 for all), and of these from as few as have at
// least the probability `top_p` together (Holtzman et al. 2020, section 3.1).
struct Sampling {
  double temperature = 0.0;
  int top_k = 0;
  double top_p = 1.0;
  std::uint64_t seed = 0;

  void check() const;
};

class Sampler {
 public:
  explicit Sampler(const Sampling& sampling) : sampling_(sampling) { sampling.check(); }

  // `row` and `step` number the draw: the same ones draw the same, whatever else is drawn.
  int pick(std::span<const float> logits, std::uint64_t row, std::uint64_t step);

 private:
  struct Candidate {
    double weight;
    int token;
  };

  Sampling sampling_;
  std::vector<Candidate> candidates_;
};

int likeliest(std::span<const float> logits);

}  // namespace stemma
