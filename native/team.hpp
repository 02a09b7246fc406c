// Threads that share the work of one pass.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>

namespace stemma {

// Work is cut into more chunks than there are threads, and who is free takes the next. Nobody waits for a thread that
// the system has put aside, unless it holds a chunk; and who waits soon sleeps, so that the system can give its core to
// the one that is waited for. After a fork only the caller is left, and does everything.
class Team {
 public:
  // body(first, last, thread) for parts of [0, size) that together are all of it.
  template <class Body>
  void share(int size, Body body) {
    const int most = threads_ == 1 ? 1 : kChunks * threads_;
    const int chunks = std::clamp(size, 1, most);
    const auto part = [&](int chunk, int thread) {
      body(int(long(size) * chunk / chunks), int(long(size) * (chunk + 1) / chunks), thread);
    };
    if (chunks == 1) return part(0, 0);
    run({[](const void* work, int chunk, int thread) { (*static_cast<const decltype(part)*>(work))(chunk, thread); },
         &part, std::uint32_t(chunks)});
  }

  int size() const { return threads_; }
  // A pass has the team for itself.
  std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }
  void resize(int threads);

  // The one of this process.
  static Team& the();

 private:
  static constexpr int kChunks = 6;  // a thread's, on average

  struct Work {
    void (*call)(const void* work, int chunk, int thread);
    const void* work;
    std::uint32_t chunks;
  };
  struct Board;

  Team();
  void run(Work work);
  static void follow(std::shared_ptr<Board> board, int thread);

  std::shared_ptr<Board> board_;
  int threads_ = 1;
  std::mutex mutex_;
};

}  // namespace stemma
