// What Python calls `stemma_native`.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "decoder.hpp"
#include "refusal.hpp"
#include "team.hpp"

namespace nb = nanobind;

namespace stemma {

void bind_whole(nb::module_& module);

namespace {

using Array = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using Numbers = nb::ndarray<nb::numpy, float>;
using Free = nb::call_guard<nb::gil_scoped_release>;

// The numbers of an array of this type, which must have so many axes.
template <class Number>
std::span<const Number> numbers(const Array& array, const char* field, nb::dlpack::dtype_code kind, int bits, int axes,
                                const char* rule) {
  const nb::dlpack::dtype type = array.dtype();
  require(type.code == std::uint8_t(kind) && type.bits == bits && type.lanes == 1, field, int(type.bits), rule,
          "turn it into that type");
  require(int(array.ndim()) == axes, field, array.ndim(), "has another number of axes than it must have",
          "give it in its own shape");
  return {static_cast<const Number*>(array.data()), array.size()};
}

std::span<const float> floats(const Array& array, const char* field, int axes) {
  return numbers<float>(array, field, nb::dlpack::dtype_code::Float, 32, axes, "bits: must be of float32");
}

std::span<const std::int64_t> ids(const Array& array, const char* field) {
  return numbers<std::int64_t>(array, field, nb::dlpack::dtype_code::Int, 64, 1, "bits: must be of int64");
}

std::span<const std::uint16_t> halves(const Array& array, const char* field) {
  return numbers<std::uint16_t>(array, field, nb::dlpack::dtype_code::Float, 16, 2, "bits: must be of float16");
}

Matrix matrix(const Array& codes, const Array& scales, const std::optional<Array>& minimums) {
  const bool small = codes.dtype().code == std::uint8_t(nb::dlpack::dtype_code::UInt);
  const auto values =
      numbers<std::uint8_t>(codes, "codes", small ? nb::dlpack::dtype_code::UInt : nb::dlpack::dtype_code::Int, 8, 2,
                            "bits: must be of uint8 (4 bits) or int8 (8 bits)");
  const auto lowest = minimums ? halves(*minimums, "minimums") : std::span<const std::uint16_t>();
  for (const Array* array : {&codes, &scales})
    for (const int axis : {0, 1})
      require(array->shape(axis) < (1u << 28), "codes", array->shape(axis), "are too many", "give a smaller matrix");
  return Matrix::packed(values, halves(scales, "scales"), lowest, int(codes.shape(0)), int(codes.shape(1)),
                        small ? 4 : 8);
}

// An array of this shape that owns its numbers.
Numbers owned(std::vector<float> values, std::initializer_list<std::size_t> shape) {
  auto* kept = new std::vector<float>(std::move(values));
  const nb::capsule owner(kept, [](void* it) noexcept { delete static_cast<std::vector<float>*>(it); });
  return Numbers(kept->data(), shape, owner);
}

// x W^T of vectors (n, columns), in this module's own order of things: what tests and other parts of the library ask
// for.
Numbers product(const Matrix& matrix, const Array& x, int activation_bits) {
  const auto values = floats(x, "x", 2);
  const int rows = int(x.shape(0)), columns = int(x.shape(1)), stride = matrix.width(), planes = activation_bits / 8;
  require(columns == matrix.columns(), "x", columns, "must have a column for each of the matrix",
          "give vectors of its width");
  require(activation_bits == 8 || activation_bits == 16, "activation_bits", activation_bits, "must be 8 or 16",
          "use 8");
  const std::size_t numbers = std::size_t(round_up(rows, kBundle)) * stride;
  std::vector<std::int8_t> codes(planes * numbers);
  std::vector<float> padded(numbers), scales(numbers / kGroup), shifts(numbers / kGroup);
  std::vector<std::int32_t> lifts(numbers / kGroup);
  for (int row = 0; row < rows; ++row)
    std::copy_n(values.data() + std::size_t(row) * columns, columns, padded.data() + std::size_t(row) * stride);
  const int wide = round_up(matrix.rows(), kLanes);
  std::vector<float> out(std::size_t(rows) * wide), result;
  const Rows from{padded.data(), rows, stride}, to{out.data(), rows, wide};
  const Codes as_codes{codes.data(), scales.data(), lifts.data(), shifts.data(), rows, stride, planes};
  {
    const nb::gil_scoped_release released;
    const auto& chosen = kernels();
    chosen.quantise(from, as_codes, 0, as_codes.groups());
    const auto lock = Team::the().lock();
    Team::the().share(matrix.row_blocks(), [&](int first, int last, int) {
      chosen.multiply(matrix, from, as_codes, nullptr, to, first, last);
    });
    for (int row = 0; row < rows; ++row) result.insert(result.end(), to[row], to[row] + matrix.rows());
  }
  return owned(std::move(result), {std::size_t(rows), std::size_t(matrix.rows())});
}

Fields fields(const nb::dict& spec) {
  Fields fields;
  for (const auto& [key, value] : spec) {
    const auto name = nb::cast<std::string>(key);
    if (nb::isinstance<nb::str>(value))
      fields[name] = nb::cast<std::string>(value);
    else if (nb::isinstance<nb::float_>(value))
      fields[name] = nb::cast<double>(value);
    else if (nb::isinstance<nb::list>(value))
      fields[name] = nb::cast<std::vector<std::int64_t>>(value);
    else
      fields[name] = nb::cast<std::int64_t>(value);
  }
  return fields;
}

Tensors tensors(const nb::dict& given) {
  Tensors tensors;
  for (const auto& [key, value] : given) {
    const auto name = nb::cast<std::string>(key);
    Tensor& tensor = tensors[name];
    if (nb::isinstance<Matrix>(value)) {
      tensor.matrix = std::make_shared<Matrix>(nb::cast<const Matrix&>(value));
      continue;
    }
    const auto array = nb::cast<Array>(value);
    if (array.ndim() == 1) {
      const auto values = floats(array, name.c_str(), 1);
      tensor.vector.assign(values.begin(), values.end());
    } else {
      const auto values = floats(array, name.c_str(), 2);
      require(array.shape(0) < (1u << 28) && array.shape(1) < (1u << 28), name.c_str(), array.size(), "is too large",
              "give a smaller one");
      tensor.matrix = std::make_shared<Matrix>(Matrix::single(values, int(array.shape(0)), int(array.shape(1))));
    }
  }
  return tensors;
}

Sampling sampling(const nb::dict& given) {
  Sampling sampling;
  for (const auto& [key, value] : given) {
    const auto name = nb::cast<std::string>(key);
    if (name == "temperature")
      sampling.temperature = nb::cast<double>(value);
    else if (name == "top_k")
      sampling.top_k = nb::cast<int>(value);
    else if (name == "top_p")
      sampling.top_p = nb::cast<double>(value);
    else if (name == "seed")
      sampling.seed = nb::cast<std::uint64_t>(value);
    else
      throw Refusal("sampling", name, "is no option of it", "use temperature, top_k, top_p and seed");
  }
  return sampling;
}

// A signal, such as an interrupt by the user, ends the writing.
void heed_signals() {
  const nb::gil_scoped_acquire acquired;
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
}

// Keys and values with three axes: n_kv_heads, slots, d_head.
struct Slots {
  std::span<const float> keys, values;
  int count;

  Slots(const Array& keys_, const Array& values_, const Spec& spec)
      : keys(floats(keys_, "keys", 3)), values(floats(values_, "values", 3)), count(int(keys_.shape(1))) {
    for (const Array* array : {&keys_, &values_})
      require(array->shape(0) == std::size_t(spec.n_kv_heads) && array->shape(2) == std::size_t(spec.d_head) &&
                  array->shape(1) == keys_.shape(1) && keys_.shape(1) < (1u << 22),
              "keys", array->shape(1), "slots: keys and values must be n_kv_heads x slots x d_head",
              "give both in this shape");
  }
};

// A pass on another thread must not meet a cache that is being changed.
template <class Change>
void change(Change change) {
  const nb::gil_scoped_release released;
  const auto lock = Team::the().lock();
  change();
}

void bind_cache(nb::module_& module) {
  nb::class_<Cache>(module, "Cache", "Keys and values of what each row of a batch has read.")
      .def(
          "fill",
          [](Cache& cache, int layer, int row, const Array& keys, const Array& values, int start) {
            const Slots slots(keys, values, cache.spec());
            change([&] { cache.fill(layer, row, slots.keys, slots.values, slots.count, start); });
          },
          nb::arg("layer"), nb::arg("row"), nb::arg("keys"), nb::arg("values"), nb::arg("start") = 0,
          "Take a layer's keys and values (n_kv_heads, slots, d_head) from slot `start` on; the row ends behind them.")
      .def(
          "memory",
          [](Cache& cache, int layer, int row, const Array& keys, const Array& values) {
            const Slots slots(keys, values, cache.spec());
            change([&] { cache.memory(layer, row, slots.keys, slots.values, slots.count); });
          },
          nb::arg("layer"), nb::arg("row"), nb::arg("keys"), nb::arg("values"),
          "Take the encoder's keys and values for a layer's cross attention.")
      .def(
          "reorder",
          [](Cache& cache, const Array& rows) {
            const auto order = ids(rows, "rows");
            change([&] { cache.reorder(order); });
          },
          nb::arg("rows"), "Go on with these rows, in this order; a row may be repeated or left out.")
      .def(
          "trim", [](Cache& cache, int row, int length) { change([&] { cache.trim(row, length); }); }, nb::arg("row"),
          nb::arg("length"), "Forget all but a row's first slots.")
      .def_prop_ro("lengths", &Cache::lengths, "How many slots of each row are filled.")
      .def_prop_ro("rows", &Cache::rows)
      .def_prop_ro("capacity", &Cache::capacity);
}

void bind_decoder(nb::module_& module) {
  nb::class_<Decoder>(module, "Decoder", "A decoder that a spec describes; see stemma.engine.program.")
      .def(
          "__init__",
          [](Decoder* self, const nb::dict& spec, const nb::dict& given) {
            new (self) Decoder(fields(spec), tensors(given));
          },
          nb::arg("spec"), nb::arg("tensors"))
      .def("cache", &Decoder::cache, nb::arg("rows"), nb::arg("capacity"), nb::arg("precise") = false,
           "An empty cache, in bfloat16 or, where it shall be precise, in float32.")
      .def(
          "step",
          [](Decoder& decoder, Cache& cache, const Array& tokens) {
            const auto given = ids(tokens, "tokens");
            std::vector<float> logits;
            {
              const nb::gil_scoped_release released;
              logits = decoder.step(cache, given);
            }
            return owned(std::move(logits), {given.size(), std::size_t(decoder.spec().vocab_size)});
          },
          nb::arg("cache"), nb::arg("tokens"), "Read one more token of every row; logits (rows, vocab_size).")
      .def(
          "choose",
          [](Decoder& decoder, Cache& cache, const std::vector<std::int64_t>& tokens) {
            std::vector<Chosen> chosen;
            {
              const nb::gil_scoped_release released;
              chosen = decoder.choose(cache, tokens);
            }
            std::vector<int> likeliest;
            std::vector<float> logprobs;
            for (const auto& [token, logprob] : chosen) {
              likeliest.push_back(token);
              logprobs.push_back(logprob);
            }
            return std::pair(likeliest, logprobs);
          },
          nb::arg("cache"), nb::arg("tokens"),
          "Read one more token of every row; the likeliest that follow, and the logarithms of their probabilities: no "
          "numbers where the logits are none.")
      .def(
          "extend",
          [](Decoder& decoder, Cache& cache, int row, const Array& tokens, bool last_only) {
            const auto given = ids(tokens, "tokens");
            std::vector<float> logits;
            {
              const nb::gil_scoped_release released;
              logits = decoder.extend(cache, row, given, last_only);
            }
            return owned(std::move(logits), {last_only ? 1 : given.size(), std::size_t(decoder.spec().vocab_size)});
          },
          nb::arg("cache"), nb::arg("row"), nb::arg("tokens"), nb::arg("last_only") = false,
          "Read several tokens of one row; logits of each of them, or of the last alone.")
      .def(
          "write",
          [](Decoder& decoder, Cache& cache, const Array& tokens, int count, const Array& stops,
             const nb::dict& options) {
            const auto given = ids(tokens, "tokens"), ends = ids(stops, "stops");
            const auto chosen = sampling(options);
            const nb::gil_scoped_release released;
            return decoder.write(cache, given, count, ends, chosen, heed_signals);
          },
          nb::arg("cache"), nb::arg("tokens"), nb::arg("count"), nb::arg("stops"), nb::arg("sampling"),
          "Read a token of every row and write up to `count` ids after it, each row up to its first stop, which is "
          "kept.");
}

}  // namespace

NB_MODULE(stemma_native, module) {
  module.doc() = "Packed products and the decoding step of any decoder.";
  nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const Refusal& refusal) {
      const nb::object value = std::visit([](const auto& held) { return nb::cast(held); }, refusal.value);
      const nb::tuple parts = nb::make_tuple(refusal.field, value, refusal.rule, refusal.remedy);
      PyErr_SetObject(PyExc_ValueError, parts.ptr());
    } catch (const nb::cast_error&) {
      PyErr_SetString(PyExc_TypeError,
                      "a spec holds numbers, words and lists of integers; tensors are Matrix or arrays");
    }
  });
  nb::class_<Matrix>(module, "Matrix", "A quantised matrix as the products read it.")
      .def(
          "__init__",
          [](Matrix* self, const Array& codes, const Array& scales, const std::optional<Array>& minimums) {
            new (self) Matrix(matrix(codes, scales, minimums));
          },
          nb::arg("codes"), nb::arg("scales"), nb::arg("minimums").none() = nb::none())
      .def("product", &product, nb::arg("x"), nb::arg("activation_bits") = 16,
           "x W^T of vectors (n, columns), which are turned to integers of so many bits.")
      .def(
          "row",
          [](const Matrix& matrix, int index) {
            std::vector<float> values(matrix.columns());
            matrix.row(index, values.data());
            return owned(std::move(values), {std::size_t(matrix.columns())});
          },
          nb::arg("index"), "A row in single precision.")
      .def_prop_ro("shape", [](const Matrix& matrix) { return nb::make_tuple(matrix.rows(), matrix.columns()); })
      .def_prop_ro("bits", &Matrix::bits)
      .def_prop_ro("bytes", &Matrix::bytes);
  bind_cache(module);
  bind_decoder(module);
  module.def(
      "threads", [](int count) { change([&] { Team::the().resize(count); }); }, nb::arg("count"),
      "How many threads share a pass.");
  module.def("isa", [] { return kernels().name; }, "The instruction set that is used.");
  module.def("isas", &instruction_sets, "Those of this processor, the fastest first.");
  module.def("use_isa", &use_instruction_set, nb::arg("name"));
#if defined(STEMMA_WHOLE)
  bind_whole(module);
#else
  module.def("attends_whole", [] { return false; }, "Whether this processor has products of half precision.");
#endif
}

}  // namespace stemma
