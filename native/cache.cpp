#include "cache.hpp"

#include <bit>
#include <cstring>

#include "refusal.hpp"

namespace stemma {
namespace {

constexpr int kMostRows = 1 << 12, kMostSlots = 1 << 22;

// To the nearest, ties to even; what is not a number stays none.
std::uint16_t upper_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return std::uint16_t(bits >> 16 | 64);
  return std::uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <class Element>
void put(std::byte* to, std::size_t index, float value) {
  Element element;
  if constexpr (sizeof(Element) == 2)
    element = upper_half(value);
  else
    element = value;
  std::memcpy(to + index * sizeof element, &element, sizeof element);
}

template <class Element>
void put_slot(std::byte* keys, std::byte* values, int slot, int width, const float* key, const float* value,
              int channels) {
  const std::size_t block = std::size_t(slot / kLanes) * kLanes * width, within = slot % kLanes;
  for (int channel = 0; channel < channels; ++channel) {
    put<Element>(keys, block + std::size_t(channel) * kLanes + within, key[channel]);
    put<Element>(values, std::size_t(slot) * width + channel, value[channel]);
  }
}

}  // namespace

Store::Store(int layers, int heads, int width, int capacity, bool precise)
    : layers_(layers), heads_(heads), width_(width), capacity_(capacity), precise_(precise) {
  memory_ = allocate(std::size_t(layers) * heads * 2 * part());
}

void Store::write(int layer, int head, int slot, const float* key, const float* value, int channels) {
  auto* keys = at(layer, head, false);
  auto* values = at(layer, head, true);
  if (precise_)
    put_slot<float>(keys, values, slot, width_, key, value, channels);
  else
    put_slot<std::uint16_t>(keys, values, slot, width_, key, value, channels);
}

void Store::take(const Store& other, int slots) {
  const std::size_t filled = std::size_t(round_up(slots, kLanes)) * width_ * (precise_ ? 4 : 2);
  for (int layer = 0; layer < layers_; ++layer)
    for (int head = 0; head < heads_; ++head)
      for (const bool values : {false, true})
        std::memcpy(at(layer, head, values), other.at(layer, head, values), filled);
}

Cache::Cache(std::shared_ptr<const Spec> spec, int rows, int capacity, bool precise,
             std::shared_ptr<const DistanceBias> bias)
    : spec_(std::move(spec)), bias_(std::move(bias)), capacity_(capacity), precise_(precise) {
  require(rows >= 1 && rows <= kMostRows, "rows", rows, "must be from 1 to 4096", "use fewer rows at a time");
  require(capacity >= 1 && capacity <= kMostSlots, "capacity", capacity, "must be from 1 to 2^22",
          "use the longest text's length");
  for (int row = 0; row < rows; ++row)
    rows_.push_back({new_store(), std::vector<std::shared_ptr<const Store>>(spec_->crossing ? spec_->n_layers : 0)});
}

std::shared_ptr<Store> Cache::new_store() const {
  return std::make_shared<Store>(spec_->n_layers, spec_->n_kv_heads, spec_->width(), capacity_, precise_);
}

std::vector<int> Cache::lengths() const {
  std::vector<int> lengths;
  for (const auto& row : rows_) lengths.push_back(row.length);
  return lengths;
}

void Cache::check(int layer, int row, std::size_t keys, std::size_t values, int slots) const {
  require(layer >= 0 && layer < spec_->n_layers, "layer", layer, "lies outside the decoder", "use one below n_layers");
  require(row >= 0 && row < rows(), "row", row, "lies outside the batch", "use one below the cache's rows");
  const std::size_t size = std::size_t(spec_->n_kv_heads) * std::size_t(slots) * std::size_t(spec_->d_head);
  require(keys == size, "keys", keys, "must hold n_kv_heads x slots x d_head numbers", "give them in this shape");
  require(values == size, "values", values, "must hold n_kv_heads x slots x d_head numbers", "give them in this shape");
}

void Cache::write(Store& store, int layer, std::span<const float> keys, std::span<const float> values, int slots,
                  int start) {
  const int channels = spec_->d_head;
  for (int head = 0; head < spec_->n_kv_heads; ++head)
    for (int slot = 0; slot < slots; ++slot) {
      const std::size_t at = (std::size_t(head) * slots + slot) * channels;
      store.write(layer, head, start + slot, keys.data() + at, values.data() + at, channels);
    }
}

void Cache::fill(int layer, int row, std::span<const float> keys, std::span<const float> values, int slots, int start) {
  check(layer, row, keys.size(), values.size(), slots);
  require(start >= 0 && start <= capacity_ - slots, "start", start, "leaves no room for the slots",
          "make the cache with a larger capacity");
  require(start + slots <= spec_->reach(), "start", start, "exceeds the learned positions", "shorten the text");
  write(*rows_[row].own, layer, keys, values, slots, start);
  rows_[row].length = start + slots;
}

void Cache::memory(int layer, int row, std::span<const float> keys, std::span<const float> values, int slots) {
  check(layer, row, keys.size(), values.size(), slots);
  require(spec_->crossing, "memory", slots, "is not read by this decoder", "give it to one with cross attention");
  require(slots >= 1 && slots <= kMostSlots, "memory", slots, "must have at least one slot", "encode some text");
  auto store = std::make_shared<Store>(1, spec_->n_kv_heads, spec_->width(), slots, precise_);
  write(*store, 0, keys, values, slots, 0);
  rows_[row].memory[layer] = std::move(store);
}

void Cache::reorder(std::span<const std::int64_t> order) {
  require(!order.empty() && order.size() <= kMostRows, "rows", order.size(), "must be from 1 to 4096",
          "keep at least one row");
  for (const auto row : order)
    require(row >= 0 && row < rows(), "rows", row, "lies outside the batch", "use those below the cache's rows");
  std::vector<bool> kept(rows_.size()), taken(rows_.size());
  for (const auto row : order) kept[row] = true;
  std::vector<std::shared_ptr<Store>> spare;  // of rows that are left out: others are copied there
  for (int row = 0; row < rows(); ++row)
    if (!kept[row]) spare.push_back(rows_[row].own);
  std::vector<Row> next;
  for (const auto row : order) {
    next.push_back(rows_[row]);
    if (taken[row]) {
      if (spare.empty()) spare.push_back(new_store());
      spare.back()->take(*rows_[row].own, rows_[row].length);
      next.back().own = std::move(spare.back());
      spare.pop_back();
    }
    taken[row] = true;
  }
  rows_ = std::move(next);
}

void Cache::trim(int row, int length) {
  require(row >= 0 && row < rows(), "row", row, "lies outside the batch", "use one below the cache's rows");
  require(length >= 0 && length <= rows_[row].length, "length", length, "is not among the filled slots",
          "use one up to the row's length");
  rows_[row].length = length;
}

}  // namespace stemma
