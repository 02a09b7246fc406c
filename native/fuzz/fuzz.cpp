// Random specs, tensors and inputs: whatever they are, the step either refuses them or keeps to its own memory.
// Built with the sanitisers, which end the program at the first fault: stemma_fuzz ROUNDS [SEED]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>

#include "decoder.hpp"
#include "refusal.hpp"
#include "team.hpp"

namespace stemma {
namespace {

class Fuzzer {
 public:
  explicit Fuzzer(unsigned seed) : random_(seed) {}

  // Whether the decoder was made.
  bool round() {
    try {
      Fields fields = spec();
      if (chance(0.3)) spoil(fields);
      const Spec read(fields);
      Tensors tensors = tensors_of(read);
      if (chance(0.2)) spoil(tensors);
      Decoder decoder(fields, tensors);
      use(decoder);
      return true;
    } catch (const Refusal&) {
      return false;
    }
  }

 private:
  int between(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  bool chance(double share) { return std::bernoulli_distribution(share)(random_); }
  template <class Value>
  Value one_of(std::initializer_list<Value> values) {
    return *(values.begin() + between(0, int(values.size()) - 1));
  }
  // Now and then one that no weight should be.
  float number() {
    if (chance(0.0005)) return one_of({0.0f, 1e30f, -1e38f, std::nanf(""), std::numeric_limits<float>::infinity()});
    return std::normal_distribution<float>(0.0f, 0.5f)(random_);
  }
  std::vector<float> numbers(std::size_t size) {
    std::vector<float> values(size);
    for (auto& value : values) value = number();
    return values;
  }

  Fields spec() {
    const std::int64_t groups = between(1, 3), heads = groups * between(1, 5), layers = between(1, 4);
    Fields fields{{"n_layers", layers},
                  {"d_model", std::int64_t{between(1, 90)}},
                  {"n_heads", heads},
                  {"n_kv_heads", groups},
                  {"d_head", std::int64_t{between(1, 70)}},
                  {"d_ff", std::int64_t{between(1, 150)}},
                  {"vocab_size", std::int64_t{between(1, 100)}},
                  {"norm", std::string(one_of({"layer", "rms"}))},
                  {"placement", std::string(one_of({"pre", "post", "parallel"}))},
                  {"activation", std::string(one_of({"relu", "gelu", "gelu_tanh", "gelu_sigmoid", "silu"}))},
                  {"position", std::string(one_of({"none", "learned", "sinusoidal", "rotary", "alibi", "buckets"}))},
                  {"layout", std::string(one_of({"halves", "interleaved"}))},
                  {"max_positions", std::int64_t{between(1, 60)}},
                  {"offset", std::int64_t{between(0, 3)}},
                  {"activation_bits", std::int64_t{8 * between(1, 2)}}};
    for (const char* flag : {"shared_layers", "crossing", "gated", "separate", "embedding_norm", "normalised"})
      if (chance(0.3)) fields[flag] = std::int64_t{1};
    if (chance(0.08)) fields["top_query"] = std::int64_t{1};
    if (chance(0.3)) fields["d_embedding"] = std::int64_t{between(1, 90)};
    if (chance(0.3)) fields["d_inputs"] = std::int64_t{between(1, 90)};
    if (chance(0.3)) fields["d_rotary"] = std::int64_t{2 * between(0, 10)};
    if (chance(0.3)) fields["scale"] = double(number());
    if (chance(0.3)) fields["embedding_scale"] = double(number());
    if (chance(0.3)) fields["logit_scale"] = double(number());
    if (chance(0.3)) fields["n_buckets"] = std::int64_t{between(2, 40)};
    if (chance(0.3)) fields["max_distance"] = std::int64_t{between(1, 200)};
    if (chance(0.3)) {
      std::vector<std::int64_t> windows;
      for (int layer = 0; layer < layers; ++layer) windows.push_back(between(0, 20));
      fields["windows"] = windows;
    }
    if (chance(0.3)) {
      fields["n_experts"] = std::int64_t{between(1, 5)};
      fields["n_active"] = std::int64_t{between(1, 3)};
      fields["expert_every"] = std::int64_t{between(1, 3)};
    }
    return fields;
  }

  void spoil(Fields& fields) {
    auto it = std::next(fields.begin(), between(0, int(fields.size()) - 1));
    switch (between(0, 4)) {
      case 0:
        fields.erase(it);
        return;
      case 1:
        it->second = one_of<std::int64_t>({-1, 0, 1, 3, 1 << 20, std::int64_t{1} << 40});
        return;
      case 2:
        it->second = std::string("nothing");
        return;
      case 3:
        it->second = double(number());
        return;
      default:
        fields["more"] = std::int64_t{1};
    }
  }

  Tensor matrix(int rows, int columns) {
    Tensor tensor;
    const std::size_t size = std::size_t(rows) * columns;
    const int bits = one_of({4, 8, 32});
    if (bits == 32) {
      tensor.matrix = std::make_shared<Matrix>(Matrix::single(numbers(size), rows, columns));
      return tensor;
    }
    std::vector<std::uint8_t> codes(size);
    for (auto& code : codes) code = std::uint8_t(between(0, bits == 4 ? 15 : 255));
    std::vector<std::uint16_t> scales(std::size_t(rows) * (round_up(columns, kGroup) / kGroup)), minimums;
    const auto halves = [&] { return std::uint16_t(chance(0.001) ? between(0, 65535) : between(0x1000, 0x2c00)); };
    std::generate(scales.begin(), scales.end(), halves);
    if (bits == 4) {
      minimums.resize(scales.size());
      std::generate(minimums.begin(), minimums.end(), halves);
    }
    tensor.matrix = std::make_shared<Matrix>(Matrix::packed(codes, scales, minimums, rows, columns, bits));
    return tensor;
  }

  Tensor vector(int size) { return {nullptr, numbers(size)}; }

  void linear(Tensors& tensors, const std::string& name, int rows, int columns) {
    tensors[name + ".weight"] = matrix(rows, columns);
    if (chance(0.5)) tensors[name + ".bias"] = vector(rows);
  }

  void norm(Tensors& tensors, const std::string& name, int width) {
    if (chance(0.7)) tensors[name + ".weight"] = vector(width);
    if (chance(0.5)) tensors[name + ".bias"] = vector(width);
  }

  Tensors tensors_of(const Spec& s) {
    // What is drawn from outside a small room was spoilt on purpose: too large to be filled.
    for (const int size : {s.d_model, s.d_ff, s.vocab_size, s.d_head, s.d_embedding, s.d_inputs, s.max_positions,
                           s.n_buckets, s.n_experts, s.n_layers * 10})
      require(size < 300, "size", size, "is too large to try", "draw again");
    Tensors t;
    t["embeddings.token.weight"] = matrix(s.vocab_size, s.d_embedding);
    if (s.position == PositionKind::learned) t["embeddings.position.weight"] = matrix(s.max_positions, s.d_inputs);
    if (s.embedding_norm) norm(t, "embeddings.norm", s.d_inputs);
    if (s.d_embedding != s.d_inputs) {
      linear(t, "embeddings.early_widening", s.d_inputs, s.d_embedding);
      linear(t, "decoder.narrowing", s.d_embedding, s.d_model);
    }
    if (s.d_inputs != s.d_model) {
      linear(t, "embeddings.widening", s.d_model, s.d_inputs);
      if (s.d_embedding == s.d_inputs) linear(t, "heads.lm.narrowing", s.d_inputs, s.d_model);
    }
    if (s.position == PositionKind::buckets) t["decoder.relative_bias.weight"] = matrix(s.n_buckets, s.n_heads);
    if (s.placement != Placement::post) norm(t, "decoder.norm", s.d_model);
    if (chance(0.5)) t["heads.lm.weight"] = matrix(s.vocab_size, s.d_embedding);
    if (chance(0.3)) t["heads.lm.bias"] = vector(s.vocab_size);
    for (int number = 0; number < s.n_blocks(); ++number) block(t, s, number);
    return t;
  }

  void block(Tensors& t, const Spec& s, int number) {
    const std::string name = "decoder.blocks." + std::to_string(number) + ".";
    const int inner = s.n_heads * s.d_head, shared = s.n_kv_heads * s.d_head;
    norm(t, name + "attention_norm", s.d_model);
    linear(t, name + "attention.query", inner, s.d_model);
    linear(t, name + "attention.key", shared, s.d_model);
    linear(t, name + "attention.value", shared, s.d_model);
    linear(t, name + "attention.output", s.d_model, inner);
    if (s.crossing) {
      norm(t, name + "cross_attention_norm", s.d_model);
      linear(t, name + "cross_attention.query", inner, s.d_model);
      linear(t, name + "cross_attention.output", s.d_model, inner);
    }
    if (s.placement != Placement::parallel || s.separate) norm(t, name + "feedforward_norm", s.d_model);
    if (s.top_query && number + 1 == s.n_blocks())
      t[name + "next_position.weight"] = matrix(s.max_positions, s.d_model);
    std::vector<std::string> networks{name + "feedforward."};
    if (s.has_experts(number)) {
      networks.clear();
      t[name + "feedforward.router.weight"] = matrix(s.n_experts, s.d_model);
      for (int i = 0; i < s.n_experts; ++i) networks.push_back(name + "feedforward.experts." + std::to_string(i) + ".");
    }
    for (const auto& network : networks) {
      if (s.gated) linear(t, network + "gate", s.d_ff, s.d_model);
      linear(t, network + "up", s.d_ff, s.d_model);
      linear(t, network + "down", s.d_model, s.d_ff);
    }
  }

  void spoil(Tensors& tensors) {
    auto it = std::next(tensors.begin(), between(0, int(tensors.size()) - 1));
    switch (between(0, 3)) {
      case 0:
        tensors.erase(it);
        return;
      case 1:
        it->second = matrix(between(1, 100), between(1, 100));
        return;
      case 2:
        it->second = vector(between(1, 100));
        return;
      default:
        tensors["more"] = vector(3);
    }
  }

  // Ids, some of them none.
  std::vector<std::int64_t> ids(int count, int vocab) {
    std::vector<std::int64_t> ids(count);
    for (auto& id : ids)
      id = chance(0.02) ? one_of<std::int64_t>({-1, vocab, std::int64_t{1} << 60}) : between(0, vocab - 1);
    return ids;
  }

  void use(Decoder& decoder) {
    const Spec& s = decoder.spec();
    use_instruction_set(sets_[between(0, int(sets_.size()) - 1)]);
    Cache cache = decoder.cache(between(0, 5), between(0, 40), chance(0.5));
    for (int call = between(1, 8); call > 0; --call) {
      try {
        once(decoder, s, cache);
      } catch (const Refusal&) {
        // A refused call leaves the cache as it was: the next one goes on.
      }
    }
  }

  void once(Decoder& decoder, const Spec& s, Cache& cache) {
    const int slots = between(0, 20);
    const auto given = numbers(std::size_t(s.n_kv_heads) * slots * s.d_head + (chance(0.05) ? 1 : 0));
    if (s.crossing && chance(0.7))
      for (int layer = 0; layer < s.n_layers; ++layer)
        for (int row = 0; row < cache.rows(); ++row) cache.memory(layer, row, given, given, slots);
    const std::function<void()> nothing = [] {};
    const Sampling sampling{chance(0.5) ? 0.0 : 0.9, between(0, 120), one_of({0.0, 0.3, 1.0}),
                            std::uint64_t(between(0, 9))};
    switch (between(0, 7)) {
      case 0:
        return void(decoder.step(cache, ids(cache.rows() + (chance(0.05) ? 1 : 0), s.vocab_size)));
      case 1:
        return void(decoder.extend(cache, between(-1, cache.rows()), ids(between(0, 12), s.vocab_size), chance(0.5)));
      case 2:
        return void(decoder.write(cache, ids(cache.rows(), s.vocab_size), between(0, 6), ids(2, s.vocab_size), sampling,
                                  nothing));
      case 3:
        return cache.fill(between(-1, s.n_layers), between(-1, cache.rows()), given, given, slots, between(-1, 30));
      case 4:
        return cache.trim(between(-1, cache.rows()), between(-1, 20));
      case 5:
        return void(decoder.choose(cache, ids(cache.rows(), s.vocab_size)));
      case 6:
        return cache.memory(between(-1, s.n_layers), between(-1, cache.rows()), given, given, slots);
      default: {
        std::vector<std::int64_t> rows(between(0, 6));
        for (auto& row : rows) row = between(chance(0.05) ? -1 : 0, cache.rows() - (chance(0.05) ? 0 : 1));
        return cache.reorder(rows);
      }
    }
  }

  std::mt19937 random_;
  const std::vector<std::string> sets_ = instruction_sets();
};

}  // namespace
}  // namespace stemma

int main(int count, char** words) {
  const long rounds = count > 1 ? std::atol(words[1]) : 1000;
  const unsigned seed = count > 2 ? unsigned(std::atol(words[2])) : 0;
  stemma::Team::the().resize(2);
  long ran = 0;
  // A seed a round, so that a fault can be seen again by itself.
  for (long round = 0; round < rounds; ++round) ran += stemma::Fuzzer(seed + unsigned(round)).round();
  std::printf("%ld rounds from seed %u: %ld decoders ran, the others were refused\n", rounds, seed, ran);
  return ran > 0 ? 0 : 1;
}
