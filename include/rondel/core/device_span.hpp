#pragma once
#include <rondel/core/error.hpp>

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace rondel {

/// A view of `size()` elements of device memory.
///
/// It has no element access, because host code must never touch device memory: only work that
/// was launched on a stream may, through `data()`. Copies are views of the same elements.
template <class T>
class device_span {
 public:
  /// Element type, with its constness.
  using element_type = T;
  /// Element type without constness.
  using value_type = std::remove_cv_t<T>;

  /// No elements.
  constexpr device_span() noexcept = default;

  /// `size` elements from `data` on.
  constexpr device_span(T* data, std::size_t size) noexcept : data_(data), size_(size) {}

  /// The same elements, read only.
  template <class U>
  requires(std::same_as<const U, T> && !std::is_const_v<U>) constexpr device_span(
      device_span<U> other) noexcept  // NOLINT: implicit as for std::span
      : data_(other.data()), size_(other.size()) {}

  /// Address of the first element, for kernels only.
  [[nodiscard]] constexpr T* data() const noexcept { return data_; }
  /// Number of elements.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  /// Number of bytes.
  [[nodiscard]] constexpr std::size_t size_bytes() const noexcept { return size_ * sizeof(T); }
  /// Whether there are no elements.
  [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }

  /// `count` elements from `offset` on. Throws `invalid_argument` if they are not all inside.
  [[nodiscard]] constexpr device_span subspan(std::size_t offset, std::size_t count) const {
    if (offset > size_ || count > size_ - offset) {
      throw invalid_argument(concat("device_span::subspan: elements [", offset, ", ", offset, " + ",
                                    count, ") are not inside a span of ", size_));
    }
    return {data_ + offset, count};
  }

  /// The first `count` elements. Throws `invalid_argument` if there are fewer.
  [[nodiscard]] constexpr device_span first(std::size_t count) const { return subspan(0, count); }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

/// The bytes of `span`, read only.
template <class T>
[[nodiscard]] device_span<const std::byte> as_bytes(device_span<T> span) noexcept {
  return {reinterpret_cast<const std::byte*>(span.data()), span.size_bytes()};
}

/// The bytes of `span`.
template <class T>
requires(!std::is_const_v<T>)
    [[nodiscard]] device_span<std::byte> as_writable_bytes(device_span<T> span) noexcept {
  return {reinterpret_cast<std::byte*>(span.data()), span.size_bytes()};
}

}  // namespace rondel
