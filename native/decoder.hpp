// A decoder that any spec describes: takes tokens, appends to a cache, gives logits.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "cache.hpp"
#include "kernels.hpp"
#include "sampling.hpp"
#include "weights.hpp"

namespace stemma {

class Workspace;

// A token that is read: by which row of the cache, and where in its text.
struct Item {
  int row, position;
  std::int64_t token;
};

class Decoder {
 public:
  Decoder(const Fields& fields, const Tensors& tensors);
  ~Decoder();

  const Spec& spec() const { return *spec_; }
  Cache cache(int rows, int capacity, bool precise) const;

  // One more token of every row; logits (rows, vocab_size).
  std::vector<float> step(Cache& cache, std::span<const std::int64_t> tokens);
  // The same, but the likeliest token that follows in each row.
  std::vector<Chosen> choose(Cache& cache, std::span<const std::int64_t> tokens);
  // Several more of one row; logits of each of them, or of the last alone.
  std::vector<float> extend(Cache& cache, int row, std::span<const std::int64_t> tokens, bool last_only);
  // For each row what it writes after its token: at most `count` ids, up to the first that is among `stops`, which is
  // kept. `between` runs between steps, and may throw.
  std::vector<std::vector<std::int64_t>> write(Cache& cache, std::span<const std::int64_t> tokens, int count,
                                               std::span<const std::int64_t> stops, const Sampling& sampling,
                                               const std::function<void()>& between);

 private:
  // take(pass, logits) is called with those of the items from number `asked` on, some at a time.
  template <class Take>
  void pass(Cache& cache, std::span<const Item> items, std::size_t asked, Take take);
  // One more token of each row.
  std::vector<Item> items(Cache& cache, std::span<const std::int64_t> tokens) const;
  Item item(Cache& cache, int row, int ahead, std::int64_t token) const;

  std::shared_ptr<const Spec> spec_;
  Weights weights_;
  std::unique_ptr<Workspace> workspace_;
};

}  // namespace stemma
