#include <algorithm>
#include <atomic>

#include "kernels.hpp"
#include "refusal.hpp"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace stemma {
namespace {

#if defined(__x86_64__)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
#else
bool has_avx512() { return false; }
bool has_avx2() { return false; }
#endif

#if defined(__aarch64__) && defined(__linux__)
bool has_dot_products() { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }
#else
bool has_dot_products() { return true; }  // asked only where its file was built: on Apple's processors, which have them
#endif

std::vector<const Kernels*> available() {
  std::vector<const Kernels*> found;
  if (kAvx512 && has_avx512()) found.push_back(kAvx512);
  if (kAvx2 && has_avx2()) found.push_back(kAvx2);
  if (kNeon && has_dot_products()) found.push_back(kNeon);
  found.push_back(kPortable);
  return found;
}

std::atomic<const Kernels*>& chosen() {
  static std::atomic<const Kernels*> kernels = available().front();
  return kernels;
}

}  // namespace

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const auto* kernels : available()) names.emplace_back(kernels->name);
  return names;
}

const Kernels& kernels() { return *chosen().load(); }

void use_instruction_set(const std::string& name) {
  for (const auto* kernels : available())
    if (name == kernels->name) {
      chosen() = kernels;
      return;
    }
  throw Refusal("isa", name, "is not among those of this processor", "use one that isas() names");
}

}  // namespace stemma
