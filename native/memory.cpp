#include "memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>

namespace stemma {
namespace {

constexpr std::size_t kAlignment = 64, kHugePage = std::size_t{2} << 20, kRegion = std::size_t{32} << 20;

#if defined(__SANITIZE_ADDRESS__)
// Each piece by itself, so that a read behind its end is seen.
constexpr bool kShared = false;
#else
constexpr bool kShared = true;
#endif

std::shared_ptr<std::byte> alone(std::size_t bytes) {
  auto* memory = static_cast<std::byte*>(::operator new(bytes, std::align_val_t{kAlignment}));
  std::memset(memory, 0, bytes);
  return {memory, [](std::byte* it) { ::operator delete(it, std::align_val_t{kAlignment}); }};
}

std::shared_ptr<std::byte> region(std::size_t bytes) {
  const std::size_t mapped = bytes + kHugePage;
  void* memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  std::shared_ptr<std::byte> whole(static_cast<std::byte*>(memory), [mapped](std::byte* it) { munmap(it, mapped); });
  void* aligned = memory;
  std::size_t room = mapped;
  std::align(kHugePage, bytes, aligned, room);
#ifdef MADV_HUGEPAGE
  madvise(aligned, bytes, MADV_HUGEPAGE);  // advice: where the system does not take it, pages stay small
#endif
  return {whole, static_cast<std::byte*>(aligned)};
}

}  // namespace

std::shared_ptr<std::byte> allocate(std::size_t bytes) {
  bytes = std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (!kShared || bytes < kHugePage / 64) return alone(bytes);
  if (bytes >= kRegion / 2) return region(bytes);
  static std::mutex mutex;
  static std::shared_ptr<std::byte> open;
  static std::size_t used = kRegion;
  const std::lock_guard lock(mutex);
  if (used + bytes > kRegion) {
    open = region(kRegion);
    used = 0;
  }
  used += bytes;
  return {open, open.get() + used - bytes};
}

Buffer::Buffer(std::span<const float> values, std::size_t padded) : Buffer(padded) {
  std::copy(values.begin(), values.end(), data());
}

void Buffer::reserve(std::size_t size) {
  if (size <= size_) return;
  memory_ = allocate(size * sizeof(float));
  size_ = size;
}

}  // namespace stemma
