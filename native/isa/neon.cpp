// NEON with dot products: four columns of four rows an instruction.
#include "../kernels.hpp"

#if defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>

#include "set.hpp"

namespace stemma {
namespace {

struct Neon {
  static constexpr const char* name = "neon";
  static constexpr int tile = 4;
  static constexpr bool raised = false;

  static Lanes halves(const std::uint16_t* from) {
    float32x4_t parts[4];
    for (int i = 0; i < 4; ++i) parts[i] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from + 4 * i)));
    Lanes lanes;
    std::memcpy(&lanes, parts, sizeof lanes);
    return lanes;
  }

  static int8x16_t four(const std::int8_t* from) {
    std::int32_t bytes;
    std::memcpy(&bytes, from, sizeof bytes);
    return vreinterpretq_s8_s32(vdupq_n_s32(bytes));
  }

  template <int bits, int n, int planes>
  static void dot(const std::uint8_t* codes, const std::int8_t* x, Integers (&sums)[n * planes]) {
    constexpr int all = n * planes;
    int32x4_t added[all][4] = {};
    for (int at = 0; at < group_bytes(bits) / 64; ++at)
      for (int quarter = 0; quarter < 4; ++quarter) {
        const uint8x16_t loaded = vld1q_u8(codes + at * 64 + quarter * 16);
        if constexpr (bits == 8) {
          const int8x16_t code = vreinterpretq_s8_u8(veorq_u8(loaded, vdupq_n_u8(128)));
          for (int i = 0; i < all; ++i) added[i][quarter] = vdotq_s32(added[i][quarter], code, four(x + apart<n>(i) + 4 * at));
        } else {
          const int8x16_t low = vreinterpretq_s8_u8(vandq_u8(loaded, vdupq_n_u8(15)));
          const int8x16_t high = vreinterpretq_s8_u8(vshrq_n_u8(loaded, 4));
          for (int i = 0; i < all; ++i) {
            added[i][quarter] = vdotq_s32(added[i][quarter], low, four(x + apart<n>(i) + 8 * at));
            added[i][quarter] = vdotq_s32(added[i][quarter], high, four(x + apart<n>(i) + 8 * at + 4));
          }
        }
      }
    for (int i = 0; i < all; ++i) std::memcpy(&sums[i], added[i], sizeof sums[i]);
  }
};

}  // namespace

const Kernels* const kNeon = &kernels_of<Neon>;

}  // namespace stemma
#else
const stemma::Kernels* const stemma::kNeon = nullptr;
#endif
