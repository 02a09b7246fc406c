// One pass of some tokens through a decoder.
#pragma once

#include <initializer_list>

#include "decoder.hpp"
#include "kernels.hpp"
#include "team.hpp"

namespace stemma {

// Where a decoder's passes put their numbers. Each place has one width only, so that what pads it stays zero.
class Workspace {
 public:
  explicit Workspace(const Spec& spec) : spec_(spec) {}

  void reserve(int items, int slots);

  struct Place {
    Buffer buffer;
    int width = 0;

    void reserve(int count, int its_width);
    Rows rows(int count) { return {buffer.data(), count, round_up(width, kColumns)}; }
  };
  Place token, inputs, stream, normed, also, branch, asked, gathered, narrow;
  Place query, key, value, joined, heads, mixed;  // heads and mixed: each head padded
  Place gate, inner, routed, logits;
  // Rows as integers: those that a phase reads, and those that it makes for the next one.
  struct Integers {
    Buffer codes, scales, sums, shifts;
    int planes = 0;

    Codes of(const Rows& x);
  };
  Integers read, made;
  std::vector<Rotation> rotations;

  float* scores(int thread) { return scores_.data() + thread * scores_room_; }

 private:
  const Spec& spec_;
  Buffer scores_;
  std::size_t scores_room_ = 0;
};

class Pass {
 public:
  Pass(const Spec& spec, const Weights& weights, Workspace& workspace, Cache& cache, std::span<const Item> items);

  // Appends to the cache, but leaves the rows' lengths.
  void run();
  // Logits of `count` items from the first on; after `run`, and until the next pass.
  Rows score(int first, int count);
  // The likeliest token of each of these rows.
  void choose(const Rows& logits, Chosen* to) const;

 private:
  struct Target {
    const Linear& linear;
    Rows out;
  };

  void embed();
  void layer(int number);
  void end();
  void attend(const Block& block, int layer, const Rows& x);
  void look_up(const Block& block, int layer, const Rows& x);
  void feed(const Block& block, const Rows& x);

  // Each of these leaves its result in `branch`, but `mix` in `joined` and `made`.
  void run_network(const Network& network, const Rows& x);
  void run_experts(const Block& block, const Rows& x);
  template <class See>
  void mix(bool turned, const See& see);
  void remember(int layer);

  Rows normalise(const Norm& norm, const Rows& x, const Rows& out) const;
  // As integers, if anything reads them so.
  Codes prepare(const Rows& x, bool quantised);
  void multiply(const Rows& x, std::initializer_list<Target> targets);
  void multiply(const Rows& x, const Codes& codes, std::initializer_list<Target> targets);
  void add(const Rows& to, const Rows& x) const;

  const Spec& spec_;
  const Weights& weights_;
  Workspace& at_;
  Cache& cache_;
  std::span<const Item> items_;
  const Kernels& kernels_;
  Team& team_;
  const int count_;
  Rows stream_;
};

}  // namespace stemma
