#pragma once
#include <source_location>

namespace rondel {

#if defined(__cpp_lib_source_location)
/// A place in the source: `std::source_location`, or its like where the compiler lacks it.
using source_location = std::source_location;
#else
/// A place in the source: `std::source_location`, or its like where the compiler lacks it.
class source_location {
 public:
  /// The place of the call.
  [[nodiscard]] static constexpr source_location current(
      const char* file = __builtin_FILE(), const char* function = __builtin_FUNCTION(),
      unsigned line = __builtin_LINE()) noexcept {
    source_location out;
    out.file_ = file;
    out.function_ = function;
    out.line_ = line;
    return out;
  }
  /// File.
  [[nodiscard]] constexpr const char* file_name() const noexcept { return file_; }
  /// Function.
  [[nodiscard]] constexpr const char* function_name() const noexcept { return function_; }
  /// Line, from 1.
  [[nodiscard]] constexpr unsigned line() const noexcept { return line_; }

 private:
  const char* file_ = "";
  const char* function_ = "";
  unsigned line_ = 0;
};
#endif

}  // namespace rondel
