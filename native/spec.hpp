// What a decoder is, as numbers: read from named fields, and checked as a whole.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "kernels.hpp"

namespace stemma {

using Field = std::variant<std::int64_t, double, std::string, std::vector<std::int64_t>>;
using Fields = std::map<std::string, Field>;

enum class NormKind { layer, rms };
enum class Placement { pre, post, parallel };
enum class PositionKind { none, learned, sinusoidal, rotary, alibi, buckets };
enum class Layout { halves, interleaved };

struct Spec {
  explicit Spec(const Fields& fields);

  int n_layers, d_model, n_heads, n_kv_heads, d_head, d_ff, vocab_size;
  int d_embedding;  // of the tokens' table
  int d_inputs;     // in which tokens' vectors and those of their positions are added
  bool shared_layers, crossing, gated, top_query, separate, embedding_norm;
  NormKind norm;
  double eps;
  Placement placement;
  Activation activation;
  std::vector<int> windows;  // of each layer; 0 for all
  double scale, embedding_scale, logit_scale;

  PositionKind position;
  Layout layout;
  double base;        // rotary
  int d_rotary;       // channels of a head that are turned
  int max_positions;  // learned: rows of the table
  int offset;         // learned: rows before that of the first position
  int n_buckets, max_distance;
  double slope_scale;  // ALiBi

  int n_experts, n_active, expert_every;
  bool normalised;

  int activation_bits;  // of what packed matrices are multiplied with: 8, or 16 for more exact and slower products

  int planes() const { return activation_bits / 8; }
  int n_blocks() const { return shared_layers ? 1 : n_layers; }
  int width() const { return round_up(d_head, kLanes); }  // of a head as it lies in memory
  bool has_experts(int block) const { return n_experts && (block + 1) % expert_every == 0; }
  // Positions that there are; the largest int where they know no end.
  int reach() const;
};

}  // namespace stemma
