#include "pass.hpp"

#include <algorithm>
#include <cstring>

#include "experts.hpp"

namespace stemma {
namespace {

constexpr int kWorthSharing = 1 << 14;  // numbers to quantise at which a second thread pays

int longest(Cache& cache, std::span<const Item> items) {
  int slots = 0;
  for (const auto& item : items) {
    slots = std::max(slots, item.position + 1);
    for (const auto& memory : cache[item.row].memory) slots = std::max(slots, memory->capacity());
  }
  return slots;
}

}  // namespace

Pass::Pass(const Spec& spec, const Weights& weights, Workspace& workspace, Cache& cache, std::span<const Item> items)
    : spec_(spec),
      weights_(weights),
      at_(workspace),
      cache_(cache),
      items_(items),
      kernels_(kernels()),
      team_(Team::the()),
      count_(int(items.size())) {
  at_.reserve(count_, longest(cache, items));
  stream_ = at_.stream.rows(count_);
}

void Pass::run() {
  embed();
  for (int number = 0; number < spec_.n_layers; ++number) {
    if (spec_.top_query && number == spec_.n_layers - 1) end();
    layer(number);
  }
  if (!spec_.top_query) end();
}

void Pass::embed() {
  const Rows token = at_.token.rows(count_), inputs = at_.inputs.rows(count_);
  const bool early = weights_.early_widening.weight != nullptr;
  std::vector<float> place(spec_.d_inputs);
  for (int i = 0; i < count_; ++i) {
    float* to = early ? token[i] : inputs[i];
    weights_.token->row(int(items_[i].token), to);
    for (int channel = 0; channel < spec_.d_embedding; ++channel) to[channel] *= float(spec_.embedding_scale);
    if (spec_.position == PositionKind::rotary) at_.rotations[i].set(spec_, items_[i].position);
  }
  if (early) multiply(token, {{weights_.early_widening, inputs}});
  for (int i = 0; i < count_; ++i) {
    std::fill(place.begin(), place.end(), 0.0f);
    if (weights_.position) weights_.position->row(items_[i].position + spec_.offset, place.data());
    if (spec_.position == PositionKind::sinusoidal)
      add_waves(spec_.layout, items_[i].position, spec_.d_inputs, place.data());
    for (int channel = 0; channel < spec_.d_inputs; ++channel) inputs[i][channel] += place[channel];
  }
  if (spec_.embedding_norm) normalise(weights_.embedding_norm, inputs, inputs);
  if (weights_.widening.weight) {
    multiply(inputs, {{weights_.widening, stream_}});
  } else {
    std::copy_n(inputs.values, std::size_t(count_) * inputs.stride, stream_.values);
  }
}

void Pass::layer(int number) {
  const Block& block = weights_.blocks[number % spec_.n_blocks()];
  const Rows normed = at_.normed.rows(count_), branch = at_.branch.rows(count_);
  switch (spec_.placement) {
    case Placement::parallel: {
      normalise(block.attention_norm, stream_, normed);
      const Rows also = spec_.separate ? normalise(block.feedforward_norm, stream_, at_.also.rows(count_)) : normed;
      attend(block, number, normed);
      add(stream_, branch);
      feed(block, also);
      return add(stream_, branch);
    }
    case Placement::post:
      attend(block, number, stream_);
      add(stream_, branch);
      normalise(block.attention_norm, stream_, stream_);
      if (spec_.crossing) {
        look_up(block, number, stream_);
        add(stream_, branch);
        normalise(block.cross_norm, stream_, stream_);
      }
      feed(block, stream_);
      add(stream_, branch);
      return void(normalise(block.feedforward_norm, stream_, stream_));
    case Placement::pre:
      attend(block, number, normalise(block.attention_norm, stream_, normed));
      add(stream_, branch);
      if (spec_.crossing) {
        look_up(block, number, normalise(block.cross_norm, stream_, normed));
        add(stream_, branch);
      }
      feed(block, normalise(block.feedforward_norm, stream_, normed));
      return add(stream_, branch);
  }
}

void Pass::end() {
  if (spec_.placement != Placement::post) normalise(weights_.last_norm, stream_, stream_);
}

Rows Pass::score(int first, int count) {
  const auto part = [&](const Rows& rows) { return rows.part(first, count); };
  Rows hidden = part(stream_);
  if (weights_.narrowing.weight) {
    const Rows narrow = part(at_.narrow.rows(count_));
    multiply(hidden, {{weights_.narrowing, narrow}});
    hidden = narrow;
  }
  if (spec_.logit_scale != 1.0)
    for (std::size_t i = 0; i < std::size_t(count) * hidden.stride; ++i) hidden.values[i] *= float(spec_.logit_scale);
  if (weights_.head_narrowing.weight) {
    const Rows narrow = part(at_.narrow.rows(count_));
    multiply(hidden, {{weights_.head_narrowing, narrow}});
    hidden = narrow;
  }
  const Rows logits = part(at_.logits.rows(count_));
  multiply(hidden, {{weights_.head, logits}});
  return logits;
}

void Pass::choose(const Rows& logits, Chosen* to) const {
  team_.share(logits.count, [&](int first, int last, int) {
    for (int i = first; i < last; ++i) to[i] = kernels_.choose(logits[i], spec_.vocab_size);
  });
}

void Pass::attend(const Block& block, int layer, const Rows& x) {
  const Rows query = at_.query.rows(count_);
  const Target key{block.key, at_.key.rows(count_)}, value{block.value, at_.value.rows(count_)};
  if (spec_.top_query && layer == spec_.n_layers - 1) {
    multiply(x, {key, value});
    const Rows asked = at_.asked.rows(count_);
    for (int i = 0; i < count_; ++i) weights_.next_position->row(items_[i].position + spec_.offset, asked[i]);
    multiply(asked, {{block.query, query}});
  } else {
    multiply(x, {{block.query, query}, key, value});
  }
  remember(layer);
  const int window = spec_.windows[layer];
  mix(spec_.position == PositionKind::rotary, [&](int item, int head, Attending& a) {
    const auto& [row, position, token] = items_[item];
    a.keys = cache_[row].own->keys(layer, head);
    a.values = cache_[row].own->values(layer, head);
    a.precise = cache_[row].own->precise();
    a.last = position + 1;
    a.first = window ? std::max(0, a.last - window) : 0;
    a.bias_stride = cache_.bias().stride();
    return cache_.bias().row(0, position);
  });
  const Rows joined = at_.joined.rows(count_);
  multiply(joined, at_.made.of(joined), {{block.output, at_.branch.rows(count_)}});
}

void Pass::look_up(const Block& block, int layer, const Rows& x) {
  multiply(x, {{block.cross_query, at_.query.rows(count_)}});
  mix(false, [&](int item, int head, Attending& a) -> const float* {
    const Store& memory = *cache_[items_[item].row].memory[layer];
    a.keys = memory.keys(0, head);
    a.values = memory.values(0, head);
    a.precise = memory.precise();
    a.first = 0;
    a.last = memory.capacity();
    return nullptr;
  });
  const Rows joined = at_.joined.rows(count_);
  multiply(joined, at_.made.of(joined), {{block.cross_output, at_.branch.rows(count_)}});
}

// Turns keys, and appends them and values.
void Pass::remember(int layer) {
  const bool turned = spec_.position == PositionKind::rotary;
  const int channels = spec_.d_head;
  const Rows key = at_.key.rows(count_), value = at_.value.rows(count_);
  for (int i = 0; i < count_; ++i)
    for (int head = 0; head < spec_.n_kv_heads; ++head) {
      float* its_key = key[i] + head * channels;
      if (turned) at_.rotations[i].turn(its_key);
      cache_[items_[i].row].own->write(layer, head, items_[i].position, its_key, value[i] + head * channels, channels);
    }
}

// Attention of every item's heads; `see` says what a key head's queries see, and gives the first query head's bias.
template <class See>
void Pass::mix(bool turned, const See& see) {
  const Rows query = at_.query.rows(count_), heads = at_.heads.rows(count_);
  const Rows mixed = at_.mixed.rows(count_), joined = at_.joined.rows(count_);
  const Codes codes = at_.made.of(joined);
  const int group = spec_.n_heads / spec_.n_kv_heads, width = spec_.width(), channels = spec_.d_head;
  // Queries of a group share what they read; where there are few groups, each goes its own way.
  const int together = count_ * spec_.n_kv_heads >= team_.size() ? group : 1, units = spec_.n_heads / together;
  const bool whole_groups = together * channels % kGroup == 0;
  team_.share(count_ * units, [&](int first, int last, int thread) {
    for (int unit = first; unit < last; ++unit) {
      const int item = unit / units, head = unit % units * together;
      for (int i = head; i < head + together; ++i) {
        std::copy_n(query[item] + i * channels, channels, heads[item] + i * width);
        if (turned) at_.rotations[item].turn(heads[item] + i * width);
      }
      Attending a{};
      const float* bias = see(item, head / group, a);
      a.bias = bias ? bias + head * a.bias_stride : nullptr;
      a.queries = heads[item] + head * width;
      a.output = mixed[item] + head * width;
      a.n_queries = together;
      a.width = width;
      a.scale = float(spec_.scale);
      a.scores = at_.scores(thread);
      kernels_.attend(a);
      for (int i = 0; i < together; ++i)
        std::copy_n(a.output + i * width, channels, joined[item] + (head + i) * channels);
      const bool last_of_item = head + together == spec_.n_heads;
      if (whole_groups)
        kernels_.quantise(joined.part(item, 1), codes.part(item, 1), head * channels / kGroup,
                          last_of_item ? codes.groups() : (head + together) * channels / kGroup);
    }
  });
  if (!whole_groups) kernels_.quantise(joined, codes, 0, codes.groups());
}

void Pass::feed(const Block& block, const Rows& x) {
  if (block.router.weight) return run_experts(block, x);
  run_network(block.networks.front(), x);
}

void Pass::run_network(const Network& network, const Rows& x) {
  const Rows inner = at_.inner.rows(x.count), gate = at_.gate.rows(x.count), out = at_.branch.rows(x.count);
  const bool gated = spec_.gated;
  const bool quantised = network.up.weight->bits() < 32 || (gated && network.gate.weight->bits() < 32);
  const Codes codes = prepare(x, quantised), made = at_.made.of(inner);
  const int blocks = network.up.weight->row_blocks();
  team_.share(made.groups(), [&](int first, int last, int) {
    const int from = first * kGroup / kLanes, to = std::min(last * kGroup / kLanes, blocks);
    kernels_.multiply(*network.up.weight, x, codes, network.up.bias(), inner, from, to);
    if (gated) kernels_.multiply(*network.gate.weight, x, codes, network.gate.bias(), gate, from, to);
    const int begin = from * kLanes, size = std::max(0, to - from) * kLanes;
    for (int i = 0; i < x.count; ++i) {
      float* up = inner[i] + begin;
      kernels_.activate(spec_.activation, gated ? gate[i] + begin : up, gated ? up : nullptr, up, size);
    }
    kernels_.quantise(inner, made, first, last);
  });
  multiply(inner, made, {{network.down, out}});
}

void Pass::run_experts(const Block& block, const Rows& x) {
  const Rows routed = at_.routed.rows(count_), branch = at_.branch.rows(count_);
  multiply(x, {{block.router, routed}});
  Routing routing(spec_.n_experts, spec_.n_active, spec_.normalised);
  for (int i = 0; i < count_; ++i) routing.choose(i, routed[i]);
  std::vector<float> totals(std::size_t(count_) * branch.stride);
  for (int expert = 0; expert < spec_.n_experts; ++expert) {
    const auto& chosen = routing.of(expert);
    if (chosen.empty()) continue;
    const Rows gathered = at_.gathered.rows(int(chosen.size()));
    for (std::size_t i = 0; i < chosen.size(); ++i) std::copy_n(x[chosen[i].item], x.stride, gathered[int(i)]);
    run_network(block.networks[expert], gathered);
    for (std::size_t i = 0; i < chosen.size(); ++i)
      for (int channel = 0; channel < spec_.d_model; ++channel)
        totals[std::size_t(chosen[i].item) * branch.stride + channel] += chosen[i].weight * branch[int(i)][channel];
  }
  std::copy(totals.begin(), totals.end(), branch.values);
}

Rows Pass::normalise(const Norm& norm, const Rows& x, const Rows& out) const {
  const bool centred = spec_.norm == NormKind::layer;
  const int width = &norm == &weights_.embedding_norm ? spec_.d_inputs : spec_.d_model;
  for (int i = 0; i < x.count; ++i)
    kernels_.normalise(x[i], norm.gain.data(), norm.offset.data(), centred, float(spec_.eps), width, out[i]);
  return out;
}

Codes Pass::prepare(const Rows& x, bool quantised) {
  const Codes codes = at_.read.of(x);
  if (!quantised) return codes;
  if (x.count == 1 || x.count * x.stride < kWorthSharing) {
    kernels_.quantise(x, codes, 0, codes.groups());
    return codes;
  }
  team_.share(x.count, [&](int first, int last, int) {
    kernels_.quantise(x.part(first, last - first), codes.part(first, last - first), 0, codes.groups());
  });
  return codes;
}

void Pass::multiply(const Rows& x, std::initializer_list<Target> targets) {
  const auto packed = [](const Target& target) { return target.linear.weight->bits() < 32; };
  multiply(x, prepare(x, std::any_of(targets.begin(), targets.end(), packed)), targets);
}

void Pass::multiply(const Rows& x, const Codes& codes, std::initializer_list<Target> targets) {
  int blocks = 0;
  for (const auto& target : targets) blocks += target.linear.weight->row_blocks();
  team_.share(blocks, [&](int first, int last, int) {
    for (const auto& [linear, out] : targets) {
      const int its = linear.weight->row_blocks();
      if (first < its && last > 0)
        kernels_.multiply(*linear.weight, x, codes, linear.bias(), out, std::max(first, 0), std::min(last, its));
      first -= its;
      last -= its;
    }
  });
}

void Pass::add(const Rows& to, const Rows& x) const {
  for (std::size_t i = 0; i < std::size_t(x.count) * x.stride; ++i) to.values[i] += x.values[i];
}

}  // namespace stemma
