#include <algorithm>
#include <bit>
#include <cstring>

#include "matrix.hpp"
#include "refusal.hpp"

namespace stemma {
namespace {

constexpr int kLargest = 1 << 28;  // rows or columns: keeps every product of sizes far from overflow

// The byte of a group that holds a code, and whether it stands in its upper half.
struct Place {
  int byte;
  bool upper;
};

Place place(int bits, int row, int column) {
  const int four = column / 4, within = row * 4 + column % 4;
  if (bits == 4) return {four / 2 * 4 * kLanes + within, four % 2 == 1};
  return {four * 4 * kLanes + within, false};
}

}  // namespace

float from_half(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float small = static_cast<float>(fraction) * 0x1p-24f;
  return sign ? -small : small;
}

Matrix::Matrix(int rows, int columns, int bits) : rows_(rows), columns_(columns), bits_(bits) {
  require(rows > 0 && rows <= kLargest, "rows", rows, "must be at least 1 and below 2^28", "give a whole matrix");
  require(columns > 0 && columns <= kLargest, "columns", columns, "must be at least 1 and below 2^28",
          "give a whole matrix");
  memory_ = allocate(bytes());
}

std::size_t Matrix::bytes() const {
  if (bits_ == 32) return std::size_t(rows_) * width() * sizeof(float);
  return std::size_t(row_blocks()) * (width() / kColumns) * block_bytes(bits_);
}

const std::uint8_t* Matrix::block(int row_block) const {
  return at(std::size_t(row_block) * (width() / kColumns) * block_bytes(bits_));
}

const float* Matrix::values(int row) const {
  return reinterpret_cast<const float*>(at(0)) + std::size_t(row) * width();
}

Matrix Matrix::single(std::span<const float> values, int rows, int columns) {
  require(values.size() == std::size_t(rows) * columns, "values", values.size(), "must be rows x columns",
          "give as many");
  Matrix matrix(rows, columns, 32);
  for (int row = 0; row < rows; ++row)
    std::memcpy(matrix.at(std::size_t(row) * matrix.width() * sizeof(float)),
                values.data() + std::size_t(row) * columns, columns * sizeof(float));
  return matrix;
}

Matrix Matrix::packed(std::span<const std::uint8_t> codes, std::span<const std::uint16_t> scales,
                      std::span<const std::uint16_t> minimums, int rows, int columns, int bits) {
  Matrix matrix(rows, columns, bits);
  const int groups = round_up(columns, kGroup) / kGroup;
  const std::size_t n_scales = std::size_t(rows) * groups;
  require(codes.size() == std::size_t(rows) * columns, "codes", codes.size(), "must be one for each value",
          "give rows x columns of them");
  require(scales.size() == n_scales, "scales", scales.size(), "must be one for each group of 32 columns",
          "give rows x columns / 32 of them");
  require(minimums.size() == (bits == 4 ? n_scales : 0), "minimums", minimums.size(),
          "must be one for each scale where codes have 4 bits, and none where they have 8", "give as many as scales");
  if (bits == 4) {
    const auto highest = *std::max_element(codes.begin(), codes.end());
    require(highest < 16, "codes", int(highest), "must be at most 15", "use 8 bits for more");
  }
  for (int row = 0; row < rows; ++row) {
    auto* blocks = matrix.at(std::size_t(row / kLanes) * (matrix.width() / kColumns) * block_bytes(bits));
    for (int group = 0; group < groups; ++group) {
      auto* block = blocks + std::size_t(group / 2) * block_bytes(bits);
      const std::size_t from = std::size_t(row) * groups + group;
      const int at = group % 2 * kLanes + row % kLanes;
      std::memcpy(block + 2 * at, &scales[from], 2);
      if (bits == 4) std::memcpy(block + 64 + 2 * at, &minimums[from], 2);
      auto* to = block + codes_at(bits) + group % 2 * group_bytes(bits);
      const int first = group * kGroup, last = std::min(columns, first + kGroup);
      for (int column = first; column < last; ++column) {
        const auto [byte, upper] = place(bits, row % kLanes, column - first);
        const auto code = codes[std::size_t(row) * columns + column];
        to[byte] |= bits == 8 ? code ^ 128 : upper ? code << 4 : code;
      }
    }
  }
  return matrix;
}

void Matrix::row(int index, float* to) const {
  require(index >= 0 && index < rows_, "row", index, "lies outside the matrix", "use one below its number of rows");
  if (bits_ == 32) {
    std::copy_n(values(index), columns_, to);
    return;
  }
  for (int column = 0; column < columns_; ++column) {
    const auto* block_at = block(index / kLanes) + std::size_t(column / kColumns) * block_bytes(bits_);
    const int group = column % kColumns / kGroup, at = group * kLanes + index % kLanes;
    std::uint16_t scale, minimum = 0;
    std::memcpy(&scale, block_at + 2 * at, 2);
    if (bits_ == 4) std::memcpy(&minimum, block_at + 64 + 2 * at, 2);
    const auto [byte, upper] = place(bits_, index % kLanes, column % kGroup);
    const int stored = block_at[codes_at(bits_) + group * group_bytes(bits_) + byte];
    const int code = bits_ == 8 ? stored - 128 : upper ? stored >> 4 : stored & 15;
    to[column] = from_half(scale) * float(code) + from_half(minimum);
  }
}

}  // namespace stemma
