// A matrix as the products read it: 4 or 8 bits with scales, or single precision.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "memory.hpp"
#include "sizes.hpp"

namespace stemma {

// Sixteen rows by 64 columns of a quantised matrix lie together:
//   scales    fp16[2 groups][16 rows]
//   minimums  fp16[2 groups][16 rows]                     (4 bits)
//   codes     of each group of 32 columns, four columns of sixteen rows at a time, which is what one instruction
//             multiplies; of 4 bits the second four columns stand in the upper halves of the first four's bytes.
// A value is scale * code + minimum; 8-bit codes are stored with 128 added and have no minimum.
constexpr int block_bytes(int bits) { return bits == 4 ? 640 : 1088; }
constexpr int codes_at(int bits) { return bits == 4 ? 128 : 64; }
constexpr int group_bytes(int bits) { return kLanes * kGroup * bits / 8; }

class Matrix {
 public:
  // Codes (rows, columns): uint8 of at most 15, or int8; scales and minimums (rows, groups) in half precision.
  static Matrix packed(std::span<const std::uint8_t> codes, std::span<const std::uint16_t> scales,
                       std::span<const std::uint16_t> minimums, int rows, int columns, int bits);
  static Matrix single(std::span<const float> values, int rows, int columns);

  int rows() const { return rows_; }
  int columns() const { return columns_; }
  int bits() const { return bits_; }
  int row_blocks() const { return round_up(rows_, kLanes) / kLanes; }
  int width() const { return round_up(columns_, kColumns); }
  std::size_t bytes() const;

  // Where the sixteen rows of a block begin.
  const std::uint8_t* block(int row_block) const;
  // A row in single precision, zeros added up to the width.
  const float* values(int row) const;

  void row(int index, float* to) const;

 private:
  Matrix(int rows, int columns, int bits);
  std::uint8_t* at(std::size_t byte) const { return reinterpret_cast<std::uint8_t*>(memory_.get()) + byte; }

  std::shared_ptr<std::byte> memory_;
  int rows_, columns_, bits_;
};

float from_half(std::uint16_t half);

}  // namespace stemma
