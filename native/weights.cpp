#include "weights.hpp"

#include <algorithm>

#include "refusal.hpp"

namespace stemma {
namespace {

class Taker {
 public:
  explicit Taker(const Tensors& tensors) : tensors_(tensors) {}

  bool has(const std::string& name) const { return tensors_.contains(name); }

  std::shared_ptr<const Matrix> matrix(const std::string& name, int rows, int columns) {
    const Tensor& tensor = take(name);
    check(name, tensor.matrix && tensor.matrix->rows() == rows && tensor.matrix->columns() == columns,
          "a matrix of " + std::to_string(rows) + " x " + std::to_string(columns));
    return tensor.matrix;
  }

  std::vector<float> vector(const std::string& name, int size) {
    const Tensor& tensor = take(name);
    check(name, !tensor.matrix && tensor.vector.size() == std::size_t(size), "a vector of " + std::to_string(size));
    return tensor.vector;
  }

  Linear linear(const std::string& name, int rows, int columns) {
    Linear linear{matrix(name + ".weight", rows, columns), {}};
    if (has(name + ".bias")) linear.offset = Buffer(vector(name + ".bias", rows), round_up(rows, kLanes));
    return linear;
  }

  Norm norm(const std::string& name, int width) {
    const auto values = [&](const std::string& which, float usual) {
      auto found = has(name + which) ? vector(name + which, width) : std::vector<float>(width, usual);
      return Buffer(found, round_up(width, kColumns));
    };
    return {values(".weight", 1.0f), values(".bias", 0.0f)};
  }

  void finish() const {
    for (const auto& [name, _] : tensors_)
      if (!taken_.contains(name)) throw Refusal("tensors", name, "is read by no part of the decoder", "leave it out");
  }

 private:
  const Tensor& take(const std::string& name) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw Refusal("tensors", name, "is missing", "give it");
    taken_.insert(name);
    return found->second;
  }

  static void check(const std::string& name, bool holds, const std::string& shape) {
    if (!holds) throw Refusal("tensors", name, "must be " + shape, "make spec and tensors agree");
  }

  const Tensors& tensors_;
  std::set<std::string> taken_;
};

Block block(const Spec& spec, Taker& take, int number) {
  const std::string name = "decoder.blocks." + std::to_string(number) + ".";
  const int inner = spec.n_heads * spec.d_head, shared = spec.n_kv_heads * spec.d_head, width = spec.d_model;
  Block block;
  block.attention_norm = take.norm(name + "attention_norm", width);
  block.query = take.linear(name + "attention.query", inner, width);
  block.key = take.linear(name + "attention.key", shared, width);
  block.value = take.linear(name + "attention.value", shared, width);
  block.output = take.linear(name + "attention.output", width, inner);
  if (spec.crossing) {
    block.cross_norm = take.norm(name + "cross_attention_norm", width);
    block.cross_query = take.linear(name + "cross_attention.query", inner, width);
    block.cross_output = take.linear(name + "cross_attention.output", width, inner);
  }
  if (spec.placement != Placement::parallel || spec.separate)
    block.feedforward_norm = take.norm(name + "feedforward_norm", width);
  const auto network = [&](const std::string& its) {
    return Network{spec.gated ? take.linear(its + "gate", spec.d_ff, width) : Linear{},
                   take.linear(its + "up", spec.d_ff, width), take.linear(its + "down", width, spec.d_ff)};
  };
  if (spec.has_experts(number)) {
    block.router = take.linear(name + "feedforward.router", spec.n_experts, width);
    for (int expert = 0; expert < spec.n_experts; ++expert)
      block.networks.push_back(network(name + "feedforward.experts." + std::to_string(expert) + "."));
  } else {
    block.networks.push_back(network(name + "feedforward."));
  }
  return block;
}

}  // namespace

Weights::Weights(const Spec& spec, const Tensors& tensors) {
  Taker take(tensors);
  const std::string last = "decoder.blocks." + std::to_string(spec.n_blocks() - 1) + ".";
  token = take.matrix("embeddings.token.weight", spec.vocab_size, spec.d_embedding);
  if (spec.position == PositionKind::learned)
    position = take.matrix("embeddings.position.weight", spec.max_positions, spec.d_inputs);
  if (spec.top_query) next_position = take.matrix(last + "next_position.weight", spec.max_positions, spec.d_model);
  if (spec.embedding_norm) embedding_norm = take.norm("embeddings.norm", spec.d_inputs);
  // The tokens' table is widened before positions are added, or both together after it.
  if (spec.d_embedding != spec.d_inputs) {
    early_widening = take.linear("embeddings.early_widening", spec.d_inputs, spec.d_embedding);
    narrowing = take.linear("decoder.narrowing", spec.d_embedding, spec.d_model);
  }
  if (spec.d_inputs != spec.d_model) {
    widening = take.linear("embeddings.widening", spec.d_model, spec.d_inputs);
    if (!narrowing.weight) head_narrowing = take.linear("heads.lm.narrowing", spec.d_inputs, spec.d_model);
  }
  if (spec.position == PositionKind::buckets) {
    const auto table = take.matrix("decoder.relative_bias.weight", spec.n_buckets, spec.n_heads);
    distances.resize(std::size_t(spec.n_buckets) * spec.n_heads);
    for (int row = 0; row < spec.n_buckets; ++row) table->row(row, distances.data() + std::size_t(row) * spec.n_heads);
  }
  for (int number = 0; number < spec.n_blocks(); ++number) blocks.push_back(block(spec, take, number));
  if (spec.placement != Placement::post) last_norm = take.norm("decoder.norm", spec.d_model);
  head.weight = token;
  if (take.has("heads.lm.weight")) head.weight = take.matrix("heads.lm.weight", spec.vocab_size, spec.d_embedding);
  if (take.has("heads.lm.bias"))
    head.offset = Buffer(take.vector("heads.lm.bias", spec.vocab_size), round_up(spec.vocab_size, kLanes));
  take.finish();
}

}  // namespace stemma
