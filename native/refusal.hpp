// What is wrong with what a caller gave: the one exception of this library.
#pragma once

#include <concepts>
#include <cstdint>
#include <exception>
#include <sstream>
#include <string>
#include <utility>
#include <variant>

namespace stemma {

struct Refusal : std::exception {
  using Value = std::variant<std::int64_t, double, std::string>;

  std::string field;
  Value value;
  std::string rule, remedy, text;

  Refusal(std::string field_, Value value_, std::string rule_, std::string remedy_)
      : field(std::move(field_)), value(std::move(value_)), rule(std::move(rule_)), remedy(std::move(remedy_)) {
    std::ostringstream whole;
    std::visit([&](const auto& shown) { whole << field << "=" << shown << " " << rule << "; " << remedy; }, value);
    text = whole.str();
  }

  const char* what() const noexcept override { return text.c_str(); }
};

template <class Given>
void require(bool holds, const char* field, const Given& value, const char* rule, const char* remedy) {
  if (holds) return;
  if constexpr (std::integral<Given>)
    throw Refusal(field, std::int64_t(value), rule, remedy);
  else
    throw Refusal(field, value, rule, remedy);
}

}  // namespace stemma
