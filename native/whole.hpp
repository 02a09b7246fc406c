// Attention of whole texts in half precision: every query sees every key that a mask shows (Vaswani et al. 2017, 3.2).
// A key head serves as many query heads as there are for each (Ainslie et al. 2023, section 2.2).
#pragma once

#include <cstddef>
#include <cstdint>

namespace stemma {

using half = std::uint16_t;  // the upper half of a float: bfloat16

// Keys of a text that fit into the working memory of a core.
constexpr int kMostKeys = 2048;

// Where a head's vectors lie; the channels of a vector are next to each other.
struct Heads {
  half* data;
  std::ptrdiff_t text, head, token;  // from one to the next, in numbers

  half* at(int t, int h) const { return data + t * text + h * head; }
};

// Which keys a query may see, a byte each; all where there is no data.
struct Shown {
  const std::uint8_t* data;
  std::ptrdiff_t text, query;
};

// softmax(scale Q K^T) V of texts of one length.
struct Whole {
  Heads query, key, value, mixed;
  Shown shown;
  int texts, heads, key_heads, queries, keys, width;  // width: channels of a head, 32 or 64
  float scale;
};

// What runs a function on every thread of a team that stands already, as libgomp's GOMP_parallel does; and the number
// of the thread that asks. Two teams that wait for work on the same cores would stand in each other's way.
struct Workers {
  void (*all)(void (*)(void*), void*, unsigned, unsigned);
  int (*number)();
  int count;
};

// Whether this processor has the products of half precision that the computation is made of.
bool attends_whole();

void attend_whole(const Whole& whole, const Workers& workers);

}  // namespace stemma
