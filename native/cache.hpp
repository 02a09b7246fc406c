// Keys and values of what each row of a batch has read.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "memory.hpp"
#include "positions.hpp"
#include "spec.hpp"

namespace stemma {

// Keys and values of one text, as `Attending` reads them, in bfloat16 or in single precision.
class Store {
 public:
  Store(int layers, int heads, int width, int capacity, bool precise);

  // Both of `channels` numbers, at most `width`.
  void write(int layer, int head, int slot, const float* key, const float* value, int channels);
  const void* keys(int layer, int head) const { return at(layer, head, false); }
  const void* values(int layer, int head) const { return at(layer, head, true); }
  // Becomes a copy of another's first slots.
  void take(const Store& other, int slots);

  int capacity() const { return capacity_; }
  bool precise() const { return precise_; }

 private:
  std::size_t part() const { return std::size_t(round_up(capacity_, kLanes)) * width_ * (precise_ ? 4 : 2); }
  std::byte* at(int layer, int head, bool values) const {
    return memory_.get() + ((std::size_t(layer) * heads_ + head) * 2 + values) * part();
  }

  std::shared_ptr<std::byte> memory_;
  int layers_, heads_, width_, capacity_;
  bool precise_;
};

class Cache {
 public:
  Cache(std::shared_ptr<const Spec> spec, int rows, int capacity, bool precise,
        std::shared_ptr<const DistanceBias> bias);

  // Keys and values (n_kv_heads, slots, d_head) of a layer, from slot `start` on; afterwards the row ends behind them.
  void fill(int layer, int row, std::span<const float> keys, std::span<const float> values, int slots, int start);
  // Those of an encoder's output, for the layer's cross attention.
  void memory(int layer, int row, std::span<const float> keys, std::span<const float> values, int slots);
  // Go on with these rows, in this order; a row may be repeated or left out.
  void reorder(std::span<const std::int64_t> rows);
  // Forget all but a row's first slots.
  void trim(int row, int length);

  int rows() const { return int(rows_.size()); }
  int capacity() const { return capacity_; }
  std::vector<int> lengths() const;
  const Spec& spec() const { return *spec_; }
  const DistanceBias& bias() const { return *bias_; }

  struct Row {
    std::shared_ptr<Store> own;
    std::vector<std::shared_ptr<const Store>> memory;  // of each layer; null where it is not given
    int length = 0;
  };
  // What a pass reads and appends to; the caller has checked that it exists.
  Row& operator[](int row) { return rows_[row]; }

 private:
  std::shared_ptr<Store> new_store() const;
  void check(int layer, int row, std::size_t keys, std::size_t values, int slots) const;
  void write(Store& store, int layer, std::span<const float> keys, std::span<const float> values, int slots, int start);

  std::shared_ptr<const Spec> spec_;
  std::shared_ptr<const DistanceBias> bias_;
  int capacity_;
  bool precise_;
  std::vector<Row> rows_;
};

}  // namespace stemma
