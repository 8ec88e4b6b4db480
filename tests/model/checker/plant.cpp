#include "plant.hpp"

#include <cstddef>
#include <fstream>
#include <stdexcept>
#include <string_view>

namespace model {

namespace {

std::string_view file_name(const site& where) {
  const std::string_view path = where.file;
  return path.substr(path.find_last_of('/') + 1);
}

bool matches(const plant& p, std::string_view operation, const site& where) {
  std::string_view text = p.text;
  if (const auto colon = text.find(": "); colon != std::string_view::npos) {
    const std::string_view place = text.substr(0, colon);
    if (place != file_name(where) && place != where.function) return false;
    text.remove_prefix(colon + 2);
  }
  return text.find(operation) != std::string_view::npos &&
         source_line(where).find(text) != std::string::npos;
}

}  // namespace

// A compiler's cache may have made the path relative to the build folder.
std::string source_line(const site& where) {
  std::string path = where.file;
  if (!path.starts_with('/')) {
    while (path.starts_with("../")) path.erase(0, 3);
    path.insert(0, SOURCE_FOLDER "/");
  }
  std::ifstream file(path);
  std::string line;
  for (int i = 0; i < where.line; ++i) {
    if (!std::getline(file, line)) return {};
  }
  const auto first = line.find_first_not_of(' ');
  return first == std::string::npos ? std::string() : line.substr(first);
}

std::string to_string(const site& where) {
  return std::string(file_name(where)) + ":" + std::to_string(where.line);
}

std::string to_string(const plant& fault) {
  std::string what = fault.drop     ? "dropped"
                     : fault.split  ? "split"
                     : fault.repeat ? "repeated"
                                    : "";
  if (fault.add != 0) what = "+" + std::to_string(fault.add);
  if (fault.order) what = to_string(*fault.order);
  return what + ": " + fault.text;
}

plant parse_plant(const std::string& words) {
  const auto space = words.find(' ');
  const std::string what = words.substr(0, space);
  const std::string text = space == std::string::npos ? "" : words.substr(space + 1);
  if (text.empty()) throw std::invalid_argument("a plant is '<what> <text>', not '" + words + "'");
  if (what == "relaxed") return weaken(text, std::memory_order_relaxed);
  if (what == "acquire") return weaken(text, std::memory_order_acquire);
  if (what == "release") return weaken(text, std::memory_order_release);
  if (what == "acq_rel") return weaken(text, std::memory_order_acq_rel);
  if (what == "drop") return drop(text);
  if (what == "split") return split(text);
  if (what == "repeat") return repeat(text);
  if (what[0] == '+') return add(text, std::stoll(what.substr(1)));
  throw std::invalid_argument("a plant is relaxed, acquire, ..., not '" + what + "'");
}

const char* to_string(std::memory_order order) noexcept {
  switch (order) {
    case std::memory_order_relaxed:
      return "relaxed";
    case std::memory_order_acquire:
      return "acquire";
    case std::memory_order_release:
      return "release";
    case std::memory_order_acq_rel:
      return "acq_rel";
    default:
      return "seq_cst";
  }
}

void garden::set(std::vector<plant> plants) {
  plants_ = std::move(plants);
  touched_.assign(plants_.size(), false);
  known_.clear();
}

const plant* garden::at(const char* operation, const site& where) {
  if (plants_.empty()) return nullptr;
  const key k{where.file, {where.line, operation}};
  if (const auto found = known_.find(k); found != known_.end()) return found->second;
  const plant* result = nullptr;
  for (std::size_t i = 0; i < plants_.size(); ++i) {
    if (!matches(plants_[i], operation, where)) continue;
    touched_[i] = true;
    result = &plants_[i];
  }
  known_.emplace(k, result);
  return result;
}

std::vector<std::string> garden::untouched() const {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < plants_.size(); ++i) {
    if (!touched_[i]) texts.push_back(plants_[i].text);
  }
  return texts;
}

}  // namespace model
