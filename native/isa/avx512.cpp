// AVX-512 with VNNI: one instruction multiplies and adds four columns of sixteen rows.
#include "../kernels.hpp"

#if defined(__AVX512VNNI__)
#include <immintrin.h>

#include "set.hpp"

namespace stemma {
namespace {

struct Avx512 {
  static constexpr const char* name = "avx512vnni";
  static constexpr int tile = 8;

  static Lanes halves(const std::uint16_t* from) {
    return reinterpret_cast<Lanes>(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
  }

  static __m512i four(const std::int8_t* from) {
    std::int32_t bytes;
    std::memcpy(&bytes, from, sizeof bytes);
    return _mm512_set1_epi32(bytes);
  }

  // The instruction takes unsigned codes.
  static constexpr bool raised = true;

  template <int bits, int n, int planes>
  static void dot(const std::uint8_t* codes, const std::int8_t* x, Integers (&sums)[n * planes]) {
    constexpr int all = n * planes;
    __m512i added[all];
    for (auto& sum : added) sum = _mm512_setzero_si512();
    const __m512i lower = _mm512_set1_epi8(15);
    for (int at = 0; at < group_bytes(bits) / 64; ++at) {
      const __m512i loaded = _mm512_loadu_si512(codes + at * 64);
      if constexpr (bits == 8) {
        for (int i = 0; i < all; ++i) added[i] = _mm512_dpbusd_epi32(added[i], loaded, four(x + apart<n>(i) + 4 * at));
      } else {
        const __m512i low = _mm512_and_si512(loaded, lower);
        const __m512i high = _mm512_and_si512(_mm512_srli_epi16(loaded, 4), lower);
        for (int i = 0; i < all; ++i) added[i] = _mm512_dpbusd_epi32(added[i], low, four(x + apart<n>(i) + 8 * at));
        for (int i = 0; i < all; ++i) added[i] = _mm512_dpbusd_epi32(added[i], high, four(x + apart<n>(i) + 8 * at + 4));
      }
    }
    for (int i = 0; i < all; ++i) sums[i] = reinterpret_cast<Integers>(added[i]);
  }
};

}  // namespace

const Kernels* const kAvx512 = &kernels_of<Avx512>;

}  // namespace stemma
#else
const stemma::Kernels* const stemma::kAvx512 = nullptr;
#endif
