#pragma once
#include <rondel/core/dtype.hpp>
#include <rondel/core/host_device.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace rondel {

/// The sum of all ranks' elements. Integers wrap around.
struct sum {
  /// Name in ledgers and errors.
  static constexpr const char* name = "sum";
  /// `a + b`.
  template <class T>
  [[nodiscard]] RONDEL_HOST_DEVICE constexpr T operator()(T a, T b) const noexcept {
    if constexpr (std::integral<T>) {
      using unsigned_t = std::make_unsigned_t<T>;
      return static_cast<T>(
          static_cast<unsigned_t>(static_cast<unsigned_t>(a) + static_cast<unsigned_t>(b)));
    } else {
      return a + b;
    }
  }
};

/// The sum of all ranks' elements divided by the number of ranks, once, at the end. Integers
/// wrap around in the sum and are divided towards zero.
struct mean {
  /// Name in ledgers and errors.
  static constexpr const char* name = "mean";
  /// `a + b`; the division follows when all ranks are in.
  template <class T>
  [[nodiscard]] RONDEL_HOST_DEVICE constexpr T operator()(T a, T b) const noexcept {
    return sum{}(a, b);
  }
};

/// The largest of all ranks' elements. Unspecified if one is a NaN.
struct max {
  /// Name in ledgers and errors.
  static constexpr const char* name = "max";
  /// The larger one.
  template <class T>
  [[nodiscard]] RONDEL_HOST_DEVICE constexpr T operator()(T a, T b) const noexcept {
    return a < b ? b : a;
  }
};

/// The smallest of all ranks' elements. Unspecified if one is a NaN.
struct min {
  /// Name in ledgers and errors.
  static constexpr const char* name = "min";
  /// The smaller one.
  template <class T>
  [[nodiscard]] RONDEL_HOST_DEVICE constexpr T operator()(T a, T b) const noexcept {
    return b < a ? b : a;
  }
};

/// `Op`, applied to the ranks' elements in the order of the ranks: `((x0 op x1) op x2) op x3`.
///
/// Gives the same bits on every engine and by every algorithm, and needs no commutative `Op`.
/// The generic algorithm then holds the blocks of all ranks at once, instead of one.
template <class Op>
struct in_rank_order {
  /// The reduction.
  [[no_unique_address]] Op op{};

  /// `op`, in the order of the ranks.
  constexpr explicit in_rank_order(Op reduction) : op(reduction) {}
};

namespace detail {

template <class Op>
inline constexpr bool is_built_in = std::same_as<Op, sum> || std::same_as<Op, mean> ||
                                    std::same_as<Op, max> || std::same_as<Op, min>;

template <class T>
inline constexpr bool is_half = std::same_as<T, bfloat16> || std::same_as<T, float16>;

template <class To, class From>
[[nodiscard]] RONDEL_HOST_DEVICE constexpr To element_cast(From value) {
  if constexpr (is_half<To>) {
    return To(static_cast<float>(value));
  } else {
    return static_cast<To>(value);
  }
}

template <class Op>
inline constexpr bool is_ordered = false;
template <class Op>
inline constexpr bool is_ordered<in_rank_order<Op>> = true;

template <class Op>
[[nodiscard]] constexpr Op base_reduction(Op op) {
  return op;
}
template <class Op>
[[nodiscard]] constexpr Op base_reduction(in_rank_order<Op> op) {
  return op.op;
}

// What partial results are kept in: 16-bit floats of the built-in reductions widen, so that
// the ranks' elements are rounded once.
template <class Op, class T>
using accumulator_t = std::conditional_t<is_built_in<Op> && is_half<T>, float, T>;

// Turns the combination of `ranks` elements into the result.
template <class Op, class A>
[[nodiscard]] RONDEL_HOST_DEVICE constexpr A finish(const Op&, A value, int ranks) {
  if constexpr (std::same_as<Op, mean> && std::integral<A>) {
    // Wide enough for any number of ranks, which a narrow `A` is not.
    return static_cast<A>(static_cast<std::int64_t>(value) / ranks);
  } else if constexpr (std::same_as<Op, mean>) {
    return static_cast<A>(value / static_cast<A>(ranks));
  } else {
    return value;
  }
}

template <class Op>
inline constexpr bool has_finish = std::same_as<Op, mean>;

template <class Op>
[[nodiscard]] constexpr const char* reduction_name(const Op&) {
  if constexpr (requires { Op::name; }) {
    return Op::name;
  } else {
    return "user";
  }
}
template <class Op>
[[nodiscard]] constexpr const char* reduction_name(const in_rank_order<Op>& op) {
  return reduction_name(op.op);
}

}  // namespace detail

/// A reduction of elements `T`: one of `sum`, `mean`, `max`, `min`, or a function object
/// `T(T, T)` of the user's that is associative and, unless wrapped in `in_rank_order`,
/// commutative. It must be the same on all ranks, and may have a member `name`, a string
/// literal, which then tells it apart from others.
template <class Op, class T>
concept reduction = element<T> && std::copyable<Op> &&
    (detail::is_built_in<decltype(detail::base_reduction(std::declval<Op>()))> ||
     std::is_invocable_r_v<T, const decltype(detail::base_reduction(std::declval<Op>()))&, T, T>);

}  // namespace rondel
