// What Python calls `stemma_native.attend_whole`.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <optional>
#include <string>
#include <tuple>

#include "whole.hpp"

namespace nb = nanobind;

namespace stemma {
namespace {

using Array = nb::ndarray<nb::device::cpu>;

[[noreturn]] void refuse(const char* name, const std::string& rule) {
  throw nb::value_error((std::string(name) + " " + rule).c_str());
}

// An array of heads, whose shape is texts, heads, tokens and channels.
Heads heads_of(const Array& array, const char* name) {
  const nb::dlpack::dtype type = array.dtype();
  if (array.ndim() != 4) refuse(name, "must have four axes: texts, heads, tokens, channels");
  if (type.code != static_cast<std::uint8_t>(nb::dlpack::dtype_code::Bfloat) || type.bits != 16)
    refuse(name, "must be of bfloat16");
  if (array.stride(3) != 1) refuse(name, "must have its channels next to each other");
  return {static_cast<half*>(array.data()), array.stride(0), array.stride(1), array.stride(2)};
}

void same(const Array& array, const char* name, std::size_t axis, std::size_t size) {
  if (array.shape(axis) != size)
    refuse(name, "has " + std::to_string(array.shape(axis)) + " on axis " + std::to_string(axis) + " in place of " +
                     std::to_string(size));
}

Shown shown_of(const Array& array, std::size_t texts, std::size_t queries, std::size_t keys) {
  const auto along = [&](std::size_t axis, std::size_t size) -> std::ptrdiff_t {
    if (array.shape(axis) == 1) return 0;
    same(array, "shown", axis, size);
    return array.stride(axis);
  };
  if (array.ndim() != 4 || array.dtype().bits != 8) refuse("shown", "must be booleans with four axes");
  same(array, "shown", 1, 1);
  same(array, "shown", 3, keys);
  if (array.stride(3) != 1) refuse("shown", "must have its keys next to each other");
  return {static_cast<const std::uint8_t*>(array.data()), along(0, texts), along(2, queries)};
}

void attend(const Array& query, const Array& key, const Array& value, const Array& mixed, float scale,
            const std::optional<Array>& shown, std::uintptr_t all, std::uintptr_t number, int threads) {
  const std::size_t texts = query.shape(0), heads = query.shape(1), queries = query.shape(2), width = query.shape(3);
  Whole whole{heads_of(query, "query"), heads_of(key, "key"), heads_of(value, "value"), heads_of(mixed, "mixed"), {}, 0, 0, 0, 0, 0, 0, scale};
  const std::size_t keys = key.shape(2), key_heads = key.shape(1);
  if (key_heads < 1 || heads % key_heads != 0) refuse("key", "must have a number of heads that divides the queries'");
  for (const auto& [array, name, its, tokens] : {std::tuple{&key, "key", key_heads, keys},
                                                 {&value, "value", key_heads, keys},
                                                 {&mixed, "mixed", heads, queries}}) {
    same(*array, name, 0, texts);
    same(*array, name, 1, its);
    same(*array, name, 2, tokens);
    same(*array, name, 3, width);
  }
  if (width != 32 && width != 64) refuse("query", "must have 32 or 64 channels a head");
  if (keys < 1 || keys > kMostKeys) refuse("key", "must have 1 to " + std::to_string(kMostKeys) + " tokens");
  for (const auto* one : {&whole.query, &whole.key})
    if (one->token % 2 != 0) refuse("query", "must have an even step from token to token");
  if (shown) whole.shown = shown_of(*shown, texts, queries, keys);
  whole.texts = texts, whole.heads = heads, whole.key_heads = key_heads;
  whole.queries = queries, whole.keys = keys, whole.width = width;
  Workers workers{nullptr, nullptr, 1};
  if (all != 0 && number != 0 && threads > 1)
    workers = {reinterpret_cast<decltype(Workers::all)>(all), reinterpret_cast<decltype(Workers::number)>(number), threads};
  const nb::gil_scoped_release released;
  attend_whole(whole, workers);
}

}  // namespace

void bind_whole(nb::module_& module) {
  module.def("attends_whole", &attends_whole, "Whether this processor has products of half precision.");
  module.def("attend_whole", &attend, nb::arg("query"), nb::arg("key"), nb::arg("value"), nb::arg("mixed"), nb::arg("scale"),
             nb::arg("shown").none(), nb::arg("all"), nb::arg("number"), nb::arg("threads"),
             "Write softmax(scale Q K^T) V into `mixed`; `all` and `number` are addresses of a team's functions.");
}

}  // namespace stemma
