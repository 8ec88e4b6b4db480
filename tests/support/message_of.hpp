#pragma once
#include <string>

namespace test {

// What the error says, empty if there was none.
template <class Error, class F>
[[nodiscard]] std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace test
