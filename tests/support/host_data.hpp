#pragma once
#include <rondel/core/device_span.hpp>
#include <rondel/device/array.hpp>
#include <rondel/device/host.hpp>

#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

namespace test {

// A device array with the elements of `values`.
template <class T>
class uploaded {
 public:
  uploaded(rondel::host_device& device, rondel::host_stream& stream, const std::vector<T>& values)
      : array_(device, stream, values.size()) {
    stream.upload(rondel::as_writable_bytes(array_.span()),
                  std::as_bytes(std::span<const T>(values)));
    stream.synchronize();
  }
  [[nodiscard]] rondel::device_span<T> span() { return array_.span(); }

 private:
  rondel::device_array<T, rondel::host_device> array_;
};

// The elements of `span`, after all that `stream` has queued.
template <class T>
[[nodiscard]] std::vector<std::remove_const_t<T>> download(rondel::host_stream& stream,
                                                           rondel::device_span<T> span) {
  std::vector<std::remove_const_t<T>> out(span.size());
  stream.download(std::as_writable_bytes(std::span(out)), rondel::as_bytes(span));
  stream.synchronize();
  return out;
}

// What compares equal exactly if the bits do.
template <class T>
[[nodiscard]] std::vector<std::byte> bits(const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

}  // namespace test
