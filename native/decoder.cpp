#include "decoder.hpp"

#include <algorithm>
#include <cmath>

#include "pass.hpp"
#include "refusal.hpp"
#include "team.hpp"

namespace stemma {
namespace {

constexpr std::size_t kTogether = 64;  // items of a pass: more are read in several

struct Appending {
  std::vector<float>& to;
  int vocab_size;

  void operator()(const Pass&, const Rows& logits) const {
    for (int i = 0; i < logits.count; ++i) to.insert(to.end(), logits[i], logits[i] + vocab_size);
  }
};

}  // namespace

Decoder::Decoder(const Fields& fields, const Tensors& tensors)
    : spec_(std::make_shared<Spec>(fields)),
      weights_(*spec_, tensors),
      workspace_(std::make_unique<Workspace>(*spec_)) {}

Decoder::~Decoder() = default;

Cache Decoder::cache(int rows, int capacity, bool precise) const {
  const bool biased = spec_->position == PositionKind::alibi || spec_->position == PositionKind::buckets;
  require(capacity <= spec_->reach(), "capacity", capacity, "exceeds the learned positions", "use a shorter one");
  return Cache(
      spec_, rows, capacity, precise,
      biased ? std::make_shared<DistanceBias>(*spec_, weights_.distances, capacity) : std::make_shared<DistanceBias>());
}

Item Decoder::item(Cache& cache, int row, int ahead, std::int64_t token) const {
  const int position = cache[row].length + ahead;
  require(token >= 0 && token < spec_->vocab_size, "token", token, "lies outside the vocabulary",
          "use the tokenizer of this model");
  require(position < cache.capacity(), "length", position + 1, "exceeds the cache's capacity",
          "make the cache with a larger capacity");
  for (const auto& memory : cache[row].memory)
    require(memory != nullptr, "memory", row, "of this row lacks a layer", "give that of every layer first");
  return {row, position, token};
}

template <class Take>
void Decoder::pass(Cache& cache, std::span<const Item> items, std::size_t asked, Take take) {
  require(&cache.spec() == spec_.get(), "cache", "another decoder's", "does not fit", "use one that this decoder made");
  const auto lock = Team::the().lock();
  for (std::size_t first = 0; first < items.size(); first += kTogether) {
    const auto part = items.subspan(first, std::min(kTogether, items.size() - first));
    Pass pass(*spec_, weights_, *workspace_, cache, part);
    pass.run();
    if (asked < first + part.size()) {
      const std::size_t skipped = std::max(asked, first) - first, count = part.size() - skipped;
      take(pass, pass.score(int(skipped), int(count)));
    }
    for (const auto& item : part) cache[item.row].length = item.position + 1;
  }
}

std::vector<Item> Decoder::items(Cache& cache, std::span<const std::int64_t> tokens) const {
  require(tokens.size() == std::size_t(cache.rows()), "tokens", tokens.size(), "must be one for each row of the cache",
          "give as many");
  std::vector<Item> items;
  for (int row = 0; row < cache.rows(); ++row) items.push_back(item(cache, row, 0, tokens[row]));
  return items;
}

std::vector<float> Decoder::step(Cache& cache, std::span<const std::int64_t> tokens) {
  const auto asked = items(cache, tokens);
  std::vector<float> logits;
  logits.reserve(asked.size() * spec_->vocab_size);
  pass(cache, asked, 0, Appending{logits, spec_->vocab_size});
  return logits;
}

std::vector<Chosen> Decoder::choose(Cache& cache, std::span<const std::int64_t> tokens) {
  const auto asked = items(cache, tokens);
  std::vector<Chosen> chosen(asked.size());
  Chosen* to = chosen.data();
  pass(cache, asked, 0, [&](const Pass& pass, const Rows& logits) {
    pass.choose(logits, to);
    to += logits.count;
  });
  return chosen;
}

std::vector<float> Decoder::extend(Cache& cache, int row, std::span<const std::int64_t> tokens, bool last_only) {
  require(row >= 0 && row < cache.rows(), "row", row, "lies outside the batch", "use one below the cache's rows");
  require(!tokens.empty(), "tokens", tokens.size(), "must be at least one", "give some");
  std::vector<Item> items;
  for (int i = 0; i < int(tokens.size()); ++i) items.push_back(item(cache, row, i, tokens[i]));
  const std::size_t asked = last_only ? items.size() - 1 : 0;
  std::vector<float> logits;
  logits.reserve((items.size() - asked) * spec_->vocab_size);
  pass(cache, items, asked, Appending{logits, spec_->vocab_size});
  return logits;
}

std::vector<std::vector<std::int64_t>> Decoder::write(Cache& cache, std::span<const std::int64_t> tokens, int count,
                                                      std::span<const std::int64_t> stops, const Sampling& sampling,
                                                      const std::function<void()>& between) {
  require(tokens.size() == std::size_t(cache.rows()), "tokens", tokens.size(), "must be one for each row of the cache",
          "give as many");
  require(count >= 1, "count", count, "must be at least 1", "ask for some tokens");
  Sampler sampler(sampling);
  std::vector<std::vector<std::int64_t>> written(tokens.size());
  std::vector<std::int64_t> last(tokens.begin(), tokens.end());
  std::vector<int> live(tokens.size());
  for (int row = 0; row < cache.rows(); ++row) live[row] = row;
  std::vector<float> logits;
  for (int step = 0; step < count && !live.empty(); ++step) {
    std::vector<Item> items;
    for (const int row : live) items.push_back(item(cache, row, 0, last[row]));
    logits.clear();
    pass(cache, items, 0, Appending{logits, spec_->vocab_size});
    std::vector<int> next;
    for (std::size_t i = 0; i < live.size(); ++i) {
      const std::span<const float> scores(logits.data() + i * spec_->vocab_size, spec_->vocab_size);
      const int row = live[i], token = sampler.pick(scores, row, cache[row].length);
      require(std::isfinite(scores[token]), "logits", scores[token], "leave nothing to choose from",
              "look for weights that are not finite");
      written[row].push_back(token);
      last[row] = token;
      if (std::find(stops.begin(), stops.end(), token) == stops.end()) next.push_back(row);
    }
    live = std::move(next);
    between();
  }
  return written;
}

}  // namespace stemma
