#pragma once
#include <rondel/core/error.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace rondel {

/// How elements of one array lie in another, as a kernel copies them: element
/// `(i0, i1, ...)` moves from `sum(i * from)` to `sum(i * to)`, counted in elements.
///
/// A permutation of axes has the same sizes on both sides and other strides; a stride of 0 in
/// `from` repeats. No two elements may have the same place in `to`.
struct strided_copy {
  /// Most axes that a copy may have.
  static constexpr int most_axes = 6;

  /// One axis.
  struct axis {
    /// Number of elements along it.
    std::size_t size = 0;
    /// Elements from one to the next where they come from.
    std::size_t from = 0;
    /// Elements from one to the next where they go.
    std::size_t to = 0;
  };

  /// The axes, the slowest first. Beyond `count` they count for nothing.
  std::array<axis, most_axes> axes{};
  /// Number of axes; 0 for a single element.
  int count = 0;

  /// One more axis, faster than those before. Throws `invalid_argument` if there are too many.
  strided_copy& add(std::size_t size, std::size_t from, std::size_t to) {
    if (count == most_axes) {
      throw invalid_argument(concat("strided_copy: more than ", most_axes, " axes"));
    }
    axes[static_cast<std::size_t>(count++)] = {size, from, to};
    return *this;
  }

  /// Number of elements that move. Throws `invalid_argument` if an address space has no room
  /// for them.
  [[nodiscard]] std::size_t elements() const {
    std::size_t out = 1;
    for (int i = 0; i < count; ++i) out = product(out, axes[static_cast<std::size_t>(i)].size);
    return out;
  }

  /// One more than the last place that is read, and that is written; 0 if nothing moves.
  [[nodiscard]] std::size_t reach_from() const { return reach(&axis::from); }
  /// See `reach_from`.
  [[nodiscard]] std::size_t reach_to() const { return reach(&axis::to); }

  /// The same copy with as few axes as it takes, and none of a single element. Kernels do a
  /// division per axis and element.
  [[nodiscard]] strided_copy merged() const {
    strided_copy out;
    for (int i = 0; i < count; ++i) {
      const axis& next = axes[static_cast<std::size_t>(i)];
      if (next.size == 1) continue;
      if (out.count != 0) {
        axis& last = out.axes[static_cast<std::size_t>(out.count - 1)];
        if (last.from == next.from * next.size && last.to == next.to * next.size) {
          last = {last.size * next.size, next.from, next.to};
          continue;
        }
      }
      out.add(next.size, next.from, next.to);
    }
    return out;
  }

 private:
  [[nodiscard]] static std::size_t product(std::size_t a, std::size_t b) {
    std::size_t out = 0;
    if (__builtin_mul_overflow(a, b, &out)) {
      throw invalid_argument(concat("strided_copy: ", a, " times ", b, " is beyond any memory"));
    }
    return out;
  }
  [[nodiscard]] std::size_t reach(std::size_t axis::*stride) const {
    std::size_t out = 1;
    for (int i = 0; i < count; ++i) {
      const axis& a = axes[static_cast<std::size_t>(i)];
      if (a.size == 0) return 0;
      const std::size_t step = product(a.size - 1, a.*stride);
      if (__builtin_add_overflow(out, step, &out)) (void)product(SIZE_MAX, 2);
    }
    return out;
  }
};

/// The copy that permutes the axes of a dense array of `sizes`: axis `i` of the result is axis
/// `order[i]` of the source. Throws `invalid_argument` unless `order` is a permutation.
template <std::size_t Axes>
requires(Axes <= std::size_t{strided_copy::most_axes}) [[nodiscard]] strided_copy
    permutation(const std::array<std::size_t, Axes>& sizes, const std::array<int, Axes>& order) {
  std::array<std::size_t, Axes> from{}, to{};
  std::size_t stride = 1;
  for (std::size_t i = Axes; i-- > 0; stride *= sizes[i]) from[i] = stride;
  std::array<bool, Axes> seen{};
  stride = 1;
  for (std::size_t i = Axes; i-- > 0;) {
    const int source = order[i];
    if (source < 0 || static_cast<std::size_t>(source) >= Axes ||
        seen[static_cast<std::size_t>(source)]) {
      throw invalid_argument(concat("permutation: axis ", source, " of an order of ", Axes,
                                    " axes is out of range or named twice"));
    }
    seen[static_cast<std::size_t>(source)] = true;
    to[i] = stride;
    stride *= sizes[static_cast<std::size_t>(source)];
  }
  strided_copy out;
  for (std::size_t i = 0; i < Axes; ++i) {
    const auto source = static_cast<std::size_t>(order[i]);
    out.add(sizes[source], from[source], to[i]);
  }
  return out;
}

namespace detail {

// What every device checks before a strided copy moves anything.
inline void check_strided(const strided_copy& copy, std::size_t to, std::size_t from) {
  if (copy.elements() == 0) return;
  if (copy.reach_from() > from || copy.reach_to() > to) {
    throw invalid_argument(concat("copy_strided: the copy reads ", copy.reach_from(),
                                  " elements of ", from, " and reaches ", copy.reach_to(), " of ",
                                  to));
  }
}

// What every device checks before rows are moved. `rows` is what the long side has.
inline void check_rows(const char* what, std::size_t width, std::size_t dense,
                       std::size_t indices) {
  if (width == 0 || dense != indices * width) {
    throw invalid_argument(concat(what, ": ", indices, " rows of ", width, " elements do not fit ",
                                  dense, " elements"));
  }
}

}  // namespace detail
}  // namespace rondel
