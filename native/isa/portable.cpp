// Plain C++: what every processor can do, and what the others are tested against.
#include "set.hpp"

namespace stemma {
namespace {

struct Portable {
  static constexpr const char* name = "portable";
  static constexpr int tile = 2;
  static constexpr bool raised = false;

  static Lanes halves(const std::uint16_t* from) {
    Lanes lanes;
    for (int i = 0; i < kLanes; ++i) lanes[i] = from_half(from[i]);
    return lanes;
  }

  template <int bits, int n, int planes>
  static void dot(const std::uint8_t* codes, const std::int8_t* x, Integers (&sums)[n * planes]) {
    constexpr int all = n * planes;
    for (int i = 0; i < all; ++i) {
      std::int32_t added[kLanes] = {};
      for (int at = 0; at < group_bytes(bits); ++at) {
        const int row = at % 64 / 4, column = at / 64 * (bits == 4 ? 8 : 4) + at % 4;
        const auto* from = x + apart<n>(i) + column;
        added[row] += bits == 8 ? (codes[at] - 128) * from[0] : (codes[at] & 15) * from[0] + (codes[at] >> 4) * from[4];
      }
      std::memcpy(&sums[i], added, sizeof sums[i]);
    }
  }
};

}  // namespace

const Kernels* const kPortable = &kernels_of<Portable>;

}  // namespace stemma
