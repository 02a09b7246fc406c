// The sizes on which all files agree.
#pragma once

namespace stemma {

constexpr int kLanes = 16;    // floats that are worked on together, and rows of a block of a packed matrix
constexpr int kGroup = 32;    // columns that share a scale
constexpr int kBundle = 8;    // rows of numbers that are multiplied at once, at most
constexpr int kColumns = 64;  // columns of a block of a packed matrix: the widths of inputs are multiples of it

constexpr int round_up(int size, int unit) { return (size + unit - 1) / unit * unit; }

}  // namespace stemma
