#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace model {

// Where in the source an operation stands.
struct site {
  const char* file = "";
  int line = 0;
  const char* function = "";
};

// The trimmed source line at `where`, or nothing if the file cannot be read.
[[nodiscard]] std::string source_line(const site& where);
// "file.hpp:12", without folders.
[[nodiscard]] std::string to_string(const site& where);

[[nodiscard]] const char* to_string(std::memory_order order) noexcept;

// A fault planted at each operation whose source line holds `text` and whose name (load, store,
// fetch_add, notify_all, lock, ...) occurs in it. "place: text" means that file or function
// only.
struct plant {
  std::string text;
  std::optional<std::memory_order> order{};  // used instead of the one in the source
  bool drop = false;                         // nothing is done; a load returns 0
  bool split = false;                        // a read-modify-write is a load and then a store
  bool repeat = false;                       // a load returns what its thread has seen last
  std::int64_t add = 0;                      // to what a load returns
};

[[nodiscard]] inline plant weaken(std::string text, std::memory_order order) {
  return {.text = std::move(text), .order = order};
}
[[nodiscard]] inline plant drop(std::string text) {
  return {.text = std::move(text), .drop = true};
}
[[nodiscard]] inline plant split(std::string text) {
  return {.text = std::move(text), .split = true};
}
[[nodiscard]] inline plant repeat(std::string text) {
  return {.text = std::move(text), .repeat = true};
}
[[nodiscard]] inline plant add(std::string text, std::int64_t value) {
  return {.text = std::move(text), .add = value};
}

// "release: x.store(1".
[[nodiscard]] std::string to_string(const plant& fault);

// A plant written as "<what> <text>", where <what> is relaxed, acquire, release, acq_rel, drop,
// split, repeat or +<number>. Throws `std::invalid_argument` if it is something else.
[[nodiscard]] plant parse_plant(const std::string& words);

// Finds the plants that an operation is to suffer.
class garden {
 public:
  void set(std::vector<plant> plants);
  // What to do at `where`, or nothing.
  [[nodiscard]] const plant* at(const char* operation, const site& where);
  // The plants that no operation has met.
  [[nodiscard]] std::vector<std::string> untouched() const;

 private:
  using key = std::pair<const void*, std::pair<int, const void*>>;  // file, line, operation

  std::vector<plant> plants_;
  std::vector<bool> touched_;
  std::map<key, const plant*> known_;
};

}  // namespace model
