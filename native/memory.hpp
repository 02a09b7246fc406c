// Zeroed memory: aligned for the widest loads, and for weights in huge pages, which read about a fifth faster.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace stemma {

// Freed with its last owner; small pieces share a region, so that they share huge pages too.
std::shared_ptr<std::byte> allocate(std::size_t bytes);

// Floats for one purpose. Where they must become more, all are zero again.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size) { reserve(size); }
  explicit Buffer(std::span<const float> values, std::size_t padded);

  void reserve(std::size_t size);
  float* data() { return reinterpret_cast<float*>(memory_.get()); }
  const float* data() const { return reinterpret_cast<const float*>(memory_.get()); }
  std::size_t size() const { return size_; }

 private:
  std::shared_ptr<std::byte> memory_;
  std::size_t size_ = 0;
};

}  // namespace stemma
