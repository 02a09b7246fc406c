// The tensors of a decoder, each taken once by its name and of the shape that the spec gives it.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "matrix.hpp"
#include "spec.hpp"

namespace stemma {

// A vector in single precision, or a matrix.
struct Tensor {
  std::shared_ptr<const Matrix> matrix;
  std::vector<float> vector;
};
using Tensors = std::map<std::string, Tensor>;

struct Linear {
  std::shared_ptr<const Matrix> weight;
  Buffer offset;  // empty where there is none

  const float* bias() const { return offset.size() ? offset.data() : nullptr; }
};

struct Norm {
  Buffer gain, offset;  // ones and zeros where there are none
};

struct Network {
  Linear gate, up, down;  // no gate where it is plain
};

struct Block {
  Norm attention_norm, cross_norm, feedforward_norm;
  Linear query, key, value, output, cross_query, cross_output;
  Linear router;
  std::vector<Network> networks;  // one, or the experts
};

struct Weights {
  // Refuses a tensor that is missing, superfluous or of another shape.
  Weights(const Spec& spec, const Tensors& tensors);

  std::shared_ptr<const Matrix> token, position, next_position;
  Linear head;
  Linear early_widening, widening, narrowing, head_narrowing;  // without a weight where widths are alike
  Norm embedding_norm, last_norm;
  std::vector<float> distances;  // of each bucket and head
  std::vector<Block> blocks;
};

}  // namespace stemma
