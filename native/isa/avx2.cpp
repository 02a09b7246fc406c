// AVX2 with FMA and F16C: products of bytes are added in pairs to 16 bits, and these in pairs to 32.
#include "../kernels.hpp"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include <immintrin.h>

#include "set.hpp"

namespace stemma {
namespace {

struct Avx2 {
  static constexpr const char* name = "avx2";
  static constexpr int tile = 2;
  static constexpr bool raised = false;

  static Lanes halves(const std::uint16_t* from) {
    const auto* parts = reinterpret_cast<const __m128i*>(from);
    const __m256 both[2] = {_mm256_cvtph_ps(_mm_loadu_si128(parts)), _mm256_cvtph_ps(_mm_loadu_si128(parts + 1))};
    Lanes lanes;
    std::memcpy(&lanes, both, sizeof lanes);
    return lanes;
  }

  static __m256i four(const std::int8_t* from) {
    std::int32_t bytes;
    std::memcpy(&bytes, from, sizeof bytes);
    return _mm256_set1_epi32(bytes);
  }

  // The first of two bytes that are multiplied must be unsigned; two of at most 128 * 127 stay below 2^15.
  static __m256i multiplied(__m256i sizes, __m256i x) {
    return _mm256_madd_epi16(_mm256_maddubs_epi16(sizes, x), _mm256_set1_epi16(1));
  }

  template <int bits, int n, int planes>
  static void dot(const std::uint8_t* codes, const std::int8_t* x, Integers (&sums)[n * planes]) {
    constexpr int all = n * planes;
    __m256i added[all][2] = {};
    const __m256i lower = _mm256_set1_epi8(15), shift = _mm256_set1_epi8(-128);
    for (int at = 0; at < group_bytes(bits) / 64; ++at)
      for (int half = 0; half < 2; ++half) {
        const auto loaded = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + at * 64 + half * 32));
        if constexpr (bits == 8) {
          const __m256i code = _mm256_xor_si256(loaded, shift), size = _mm256_abs_epi8(code);
          for (int i = 0; i < all; ++i) {
            const __m256i signs = _mm256_sign_epi8(four(x + apart<n>(i) + 4 * at), code);
            added[i][half] = _mm256_add_epi32(added[i][half], multiplied(size, signs));
          }
        } else {
          const __m256i low = _mm256_and_si256(loaded, lower);
          const __m256i high = _mm256_and_si256(_mm256_srli_epi16(loaded, 4), lower);
          for (int i = 0; i < all; ++i) {
            const auto* from = x + apart<n>(i) + 8 * at;
            const __m256i both = _mm256_add_epi32(multiplied(low, four(from)), multiplied(high, four(from + 4)));
            added[i][half] = _mm256_add_epi32(added[i][half], both);
          }
        }
      }
    for (int i = 0; i < all; ++i) std::memcpy(&sums[i], added[i], sizeof sums[i]);
  }
};

}  // namespace

const Kernels* const kAvx2 = &kernels_of<Avx2>;

}  // namespace stemma
#else
const stemma::Kernels* const stemma::kAvx2 = nullptr;
#endif
