#include "sampling.hpp"

#include <algorithm>
#include <cmath>

#include "refusal.hpp"

namespace stemma {
namespace {

// SplitMix64 (Steele et al. 2014): a number of 64 bits for each place in its row.
std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

double uniform(std::uint64_t seed, std::uint64_t row, std::uint64_t step) {
  return double(mixed(mixed(mixed(seed) ^ row) ^ step) >> 11) * 0x1p-53;
}

}  // namespace

void Sampling::check() const {
  require(temperature >= 0 && std::isfinite(temperature), "temperature", temperature, "must be 0 or more",
          "use 0 for the likeliest token");
  require(top_k >= 0, "top_k", top_k, "must be 0 or more", "use 0 for the whole vocabulary");
  require(top_p > 0 && top_p <= 1, "top_p", top_p, "must be above 0 and at most 1", "use 1 for all");
}

int likeliest(std::span<const float> logits) {
  return int(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

int Sampler::pick(std::span<const float> logits, std::uint64_t row, std::uint64_t step) {
  const int best = likeliest(logits);
  if (sampling_.temperature == 0) return best;
  candidates_.clear();
  for (int token = 0; token < int(logits.size()); ++token) {
    const double weight = std::exp((double(logits[token]) - logits[best]) / sampling_.temperature);
    if (weight > 0) candidates_.push_back({weight, token});  // leaves out what is not a number
  }
  const auto heavier = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
  };
  if (sampling_.top_k && std::size_t(sampling_.top_k) < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + sampling_.top_k, candidates_.end(), heavier);
    candidates_.resize(sampling_.top_k);
  }
  double total = 0;
  for (const auto& candidate : candidates_) total += candidate.weight;
  if (sampling_.top_p < 1) {
    std::sort(candidates_.begin(), candidates_.end(), heavier);
    double held = 0;
    std::size_t kept = 0;
    while (kept < candidates_.size() && held < sampling_.top_p * total) held += candidates_[kept++].weight;
    candidates_.resize(kept);
    total = held;
  }
  double left = uniform(sampling_.seed, row, step) * total;
  for (const auto& candidate : candidates_)
    if ((left -= candidate.weight) < 0) return candidate.token;
  return best;
}

}  // namespace stemma
