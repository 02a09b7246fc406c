#include "spec.hpp"

#include <cmath>
#include <limits>
#include <set>

#include "refusal.hpp"

namespace stemma {
namespace {

constexpr int kLargestSize = 1 << 20;

class Reader {
 public:
  explicit Reader(const Fields& fields) : fields_(fields) {}

  int integer(const char* name, int lowest, int highest = kLargestSize) {
    return check(name, get<std::int64_t>(name, "an integer"), lowest, highest);
  }

  int integer_or(const char* name, int usual, int lowest, int highest = kLargestSize) {
    return fields_.contains(name) ? integer(name, lowest, highest) : usual;
  }

  bool flag(const char* name) { return integer_or(name, 0, 0, 1); }

  double number_or(const char* name, double usual) {
    if (!fields_.contains(name)) return usual;
    const Field& field = fields_.at(name);
    const double value = std::holds_alternative<std::int64_t>(field) ? double(get<std::int64_t>(name, "a number"))
                                                                     : get<double>(name, "a number");
    require(std::isfinite(value), name, value, "must be finite", "use a number");
    return value;
  }

  template <class Choice>
  Choice choice(const char* name, const std::map<std::string, Choice>& choices) {
    const auto& value = get<std::string>(name, "a word");
    const auto found = choices.find(value);
    if (found != choices.end()) return found->second;
    std::string names;
    for (const auto& [known, _] : choices) names += (names.empty() ? "" : ", ") + known;
    throw Refusal(name, value, "is unknown", "use one of " + names);
  }

  template <class Choice>
  Choice choice_or(const char* name, Choice usual, const std::map<std::string, Choice>& choices) {
    return fields_.contains(name) ? choice(name, choices) : usual;
  }

  std::vector<int> integers_or(const char* name, std::vector<int> usual, int lowest) {
    if (!fields_.contains(name)) return usual;
    std::vector<int> values;
    for (const auto value : get<std::vector<std::int64_t>>(name, "integers"))
      values.push_back(check(name, value, lowest, kLargestSize));
    require(values.size() == usual.size(), name, values.size(), "must be one for each layer", "give n_layers of them");
    return values;
  }

  void finish() const {
    for (const auto& [name, _] : fields_)
      if (!read_.contains(name)) throw Refusal("spec", name, "is no field of a decoder", "leave it out");
  }

 private:
  static int check(const char* name, std::int64_t value, int lowest, int highest) {
    require(lowest <= value && value <= highest, name, value, "is out of range",
            ("use one from " + std::to_string(lowest) + " to " + std::to_string(highest)).c_str());
    return int(value);
  }

  template <class Kind>
  const Kind& get(const char* name, const char* kind) {
    read_.insert(name);
    const auto found = fields_.find(name);
    if (found == fields_.end()) throw Refusal("spec", name, "is missing", "give it");
    if (const auto* value = std::get_if<Kind>(&found->second)) return *value;
    throw Refusal("spec", name, std::string("must be ") + kind, "give such a value");
  }

  const Fields& fields_;
  std::set<std::string> read_;
};

const std::map<std::string, Activation> kActivations{{"relu", Activation::relu},
                                                     {"gelu", Activation::gelu},
                                                     {"gelu_tanh", Activation::gelu_tanh},
                                                     {"gelu_sigmoid", Activation::gelu_sigmoid},
                                                     {"silu", Activation::silu}};
const std::map<std::string, NormKind> kNorms{{"layer", NormKind::layer}, {"rms", NormKind::rms}};
const std::map<std::string, Placement> kPlacements{
    {"pre", Placement::pre}, {"post", Placement::post}, {"parallel", Placement::parallel}};
const std::map<std::string, PositionKind> kPositions{
    {"none", PositionKind::none},     {"learned", PositionKind::learned}, {"sinusoidal", PositionKind::sinusoidal},
    {"rotary", PositionKind::rotary}, {"alibi", PositionKind::alibi},     {"buckets", PositionKind::buckets}};
const std::map<std::string, Layout> kLayouts{{"halves", Layout::halves}, {"interleaved", Layout::interleaved}};

}  // namespace

Spec::Spec(const Fields& fields) {
  Reader reader(fields);
  n_layers = reader.integer("n_layers", 1, 1 << 12);
  d_model = reader.integer("d_model", 1);
  n_heads = reader.integer("n_heads", 1, 1 << 12);
  n_kv_heads = reader.integer("n_kv_heads", 1, n_heads);
  d_head = reader.integer("d_head", 1, 1 << 14);
  d_ff = reader.integer("d_ff", 1);
  vocab_size = reader.integer("vocab_size", 1, 1 << 24);
  d_embedding = reader.integer_or("d_embedding", d_model, 1);
  d_inputs = reader.integer_or("d_inputs", d_model, 1);
  shared_layers = reader.flag("shared_layers");
  crossing = reader.flag("crossing");
  gated = reader.flag("gated");
  top_query = reader.flag("top_query");
  separate = reader.flag("separate");
  embedding_norm = reader.flag("embedding_norm");
  normalised = reader.flag("normalised");
  norm = reader.choice("norm", kNorms);
  eps = reader.number_or("eps", 1e-5);
  placement = reader.choice("placement", kPlacements);
  activation = reader.choice("activation", kActivations);
  windows = reader.integers_or("windows", std::vector<int>(n_layers), 0);
  scale = reader.number_or("scale", 1.0 / std::sqrt(double(d_head)));
  embedding_scale = reader.number_or("embedding_scale", 1.0);
  logit_scale = reader.number_or("logit_scale", 1.0);
  position = reader.choice("position", kPositions);
  layout = reader.choice_or("layout", Layout::halves, kLayouts);
  base = reader.number_or("base", 10'000.0);
  d_rotary = reader.integer_or("d_rotary", d_head, 0, d_head);
  max_positions = reader.integer_or("max_positions", 0, 0, 1 << 24);
  offset = reader.integer_or("offset", 0, 0, 1 << 24);
  n_buckets = reader.integer_or("n_buckets", 32, 2);
  max_distance = reader.integer_or("max_distance", 128, 1);
  slope_scale = reader.number_or("slope_scale", 1.0);
  n_experts = reader.integer_or("n_experts", 0, 0, 1 << 12);
  n_active = reader.integer_or("n_active", n_experts ? 1 : 0, 0, n_experts);
  expert_every = reader.integer_or("expert_every", 1, 1);
  activation_bits = reader.integer_or("activation_bits", 8, 8, 16);
  reader.finish();

  require(n_heads % n_kv_heads == 0, "n_kv_heads", n_kv_heads, "must divide n_heads", "use a divisor");
  require(d_rotary % 2 == 0 || position != PositionKind::rotary, "d_rotary", d_rotary, "must be even",
          "turn channels in pairs");
  require(d_inputs % 2 == 0 || position != PositionKind::sinusoidal, "d_inputs", d_inputs,
          "must be even where positions are waves", "use an even width");
  require(position != PositionKind::learned || max_positions > offset, "max_positions", max_positions,
          "must exceed offset", "give the rows of the table");
  require(position != PositionKind::buckets || max_distance > n_buckets / 2, "max_distance", max_distance,
          "must exceed half of n_buckets", "use a larger one");
  require(base > 0 || position != PositionKind::rotary, "base", base, "must be positive", "use 10000");
  require(activation_bits % 8 == 0, "activation_bits", activation_bits, "must be 8 or 16", "use 8");
  require(!n_experts || n_active, "n_active", n_active, "must be at least 1 where there are experts", "use 1 or more");
  require(!top_query || (position == PositionKind::learned && !shared_layers && d_embedding == d_inputs), "top_query",
          top_query, "needs learned positions, blocks of their own and no narrowing", "use these, or no top query");
  require(!crossing || placement != Placement::parallel, "crossing", crossing, "has no place in parallel blocks",
          "use pre or post");
}

int Spec::reach() const {
  return position == PositionKind::learned ? max_positions - offset : std::numeric_limits<int>::max();
}

}  // namespace stemma
