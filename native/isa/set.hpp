// The kernels of one instruction set, by what it alone knows: see products.hpp.
#pragma once

#include "../activations.hpp"
#include "../attention.hpp"
#include "../choosing.hpp"
#include "../norms.hpp"
#include "../products.hpp"

namespace stemma {
namespace {

template <class Set>
constexpr Kernels kernels_of{Set::name, multiply<Set>, quantise, attend, normalise, activate, choose};

}  // namespace
}  // namespace stemma
