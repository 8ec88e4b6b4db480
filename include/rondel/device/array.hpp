#pragma once
#include <rondel/core/device_span.hpp>
#include <rondel/device/concepts.hpp>

#include <cstddef>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace rondel {

/// `size()` elements of `T` in memory of a device `D`, freed in stream order.
///
/// Holds exactly `size() * sizeof(T)` bytes. The elements are not initialised.
template <class T, device D>
requires std::is_trivially_copyable_v<T>
class device_array {
 public:
  /// No elements, no memory.
  device_array() = default;

  /// `size` elements from `device`, ordered on `stream` as `device.allocate` says.
  /// Throws `out_of_memory`, and `invalid_argument` if the bytes overflow.
  device_array(D& device, typename D::stream_type& stream, std::size_t size)
      : buffer_(device.allocate(stream, checked_bytes(size))) {}

  /// The elements.
  [[nodiscard]] device_span<T> span() noexcept { return {static_cast<T*>(data()), size()}; }
  /// The elements, read only.
  [[nodiscard]] device_span<const T> span() const noexcept {
    return {static_cast<const T*>(data()), size()};
  }
  /// Number of elements.
  [[nodiscard]] std::size_t size() const noexcept { return buffer_.size() / sizeof(T); }

 private:
  [[nodiscard]] static std::size_t checked_bytes(std::size_t size) {
    if (size > std::numeric_limits<std::size_t>::max() / sizeof(T)) {
      throw invalid_argument(concat("device_array: ", size, " elements of ", sizeof(T),
                                    " bytes are more than an address space"));
    }
    return size * sizeof(T);
  }
  [[nodiscard]] void* data() const noexcept { return buffer_.data(); }

  typename D::buffer_type buffer_{};
};

/// `size` elements of `T` in memory of `device`, ordered on `stream`: `make_array<float>(...)`.
/// Throws as the constructor of `device_array` does.
template <class T, device D>
[[nodiscard]] device_array<T, D> make_array(D& device, typename D::stream_type& stream,
                                            std::size_t size) {
  return {device, stream, size};
}

/// Copies the elements of `from`, on the host, to `to`, in the order of `stream`. `from` must
/// live until the stream has passed. Throws `invalid_argument` if the sizes differ.
template <class T, stream S>
void upload(S& stream, device_span<T> to, std::span<const std::type_identity_t<T>> from) {
  stream.upload(as_writable_bytes(to), std::as_bytes(from));
}

/// A temporary would be gone before the stream passes.
template <class T, stream S>
void upload(S& stream, device_span<T> to,
            const std::vector<std::type_identity_t<std::remove_const_t<T>>>&& from) = delete;

/// Copies the elements of `from` to `to`, on the host, in the order of `stream`. They are there
/// once the stream has passed. Throws `invalid_argument` if the sizes differ.
template <class T, stream S>
void download(S& stream, std::span<std::remove_const_t<T>> to, device_span<T> from) {
  stream.download(std::as_writable_bytes(to), as_bytes(from));
}

}  // namespace rondel
