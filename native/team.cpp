#include "team.hpp"

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "refusal.hpp"

namespace stemma {
namespace {

constexpr int kMostThreads = 256;
constexpr int kSpins = 4000;  // about 50 microseconds: longer than the gap between two phases of a step

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// Until the number is another one: first awake, then asleep.
void wait_for_change(const std::atomic<std::uint32_t>& number, std::uint32_t seen) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (number.load(std::memory_order_acquire) != seen) return;
    relax();
  }
  number.wait(seen, std::memory_order_acquire);
}

}  // namespace

// Each thread has chunks of its own, one after the other, for memory is read fastest in a row; when these are taken it
// takes others'. A ticket holds, from its highest bits: the number of the phase (32), the end of the chunks (16), the
// next to take (16). A chunk is taken by exchanging the whole ticket, so that none of an earlier phase can be; while one
// is held, the work stays.
struct Team::Board {
  struct alignas(64) Ticket {
    std::atomic<std::uint64_t> value{0};
  };

  explicit Board(int threads) : tickets(threads) {}

  std::vector<Ticket> tickets;
  std::atomic<std::uint32_t> phase{0}, done{0};
  std::atomic<bool> over{false};
  Work work{};

  void post(Work posted) {
    work = posted;
    done.store(0, std::memory_order_relaxed);
    const std::uint32_t number = phase.load(std::memory_order_relaxed) + 1;
    const std::size_t threads = tickets.size();
    for (std::size_t thread = 0; thread < threads; ++thread) {
      const std::uint64_t first = work.chunks * thread / threads, last = work.chunks * (thread + 1) / threads;
      tickets[thread].value.store(std::uint64_t{number} << 32 | last << 16 | first, std::memory_order_release);
    }
    phase.store(number, std::memory_order_seq_cst);
    phase.notify_all();
  }

  void take_all(int thread) {
    for (std::size_t other = 0; other < tickets.size(); ++other)
      take_from(tickets[(thread + other) % tickets.size()].value, thread);
  }

  void take_from(std::atomic<std::uint64_t>& ticket, int thread) {
    std::uint64_t seen = ticket.load(std::memory_order_acquire);
    for (;;) {
      const int next = seen & 0xffff, end = seen >> 16 & 0xffff;
      if (next >= end) return;
      if (!ticket.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      work.call(work.work, next, thread);
      if (done.fetch_add(1, std::memory_order_acq_rel) + 1 == work.chunks) done.notify_all();
      seen = ticket.load(std::memory_order_acquire);
    }
  }
};

Team& Team::the() {
  static Team& team = *new Team();  // threads may outlive the end of main
  return team;
}

Team::Team() { resize(std::max(1u, std::min(64u, std::thread::hardware_concurrency()))); }

void Team::resize(int threads) {
  require(threads >= 1 && threads <= kMostThreads, "threads", threads, "must be from 1 to 256",
          "use as many as the machine has cores");
  if (board_) {
    board_->over = true;
    board_->phase.fetch_add(1);
    board_->phase.notify_all();
  }
  board_ = std::make_shared<Board>(threads);
  for (int thread = 1; thread < threads; ++thread) std::thread(follow, board_, thread).detach();
  threads_ = threads;
}

void Team::follow(std::shared_ptr<Board> board, int thread) {
  std::uint32_t seen = 0;
  while (!board->over) {
    wait_for_change(board->phase, seen);
    seen = board->phase.load(std::memory_order_acquire);
    board->take_all(thread);
  }
}

void Team::run(Work work) {
  board_->post(work);
  board_->take_all(0);
  for (std::uint32_t done; (done = board_->done.load(std::memory_order_acquire)) != work.chunks;)
    wait_for_change(board_->done, done);
}

}  // namespace stemma
