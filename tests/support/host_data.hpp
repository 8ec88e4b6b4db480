#pragma once
#include <rondel/core/device_span.hpp>
#include <rondel/device/array.hpp>
#include <rondel/device/host.hpp>

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace test {

// How work that the host runs comes into the order of a stream, and finds device memory there.
// Another kind of stream specialises it.
template <class Stream>
struct host_work {
  template <class F>
  static void run(Stream& stream, F f) {
    stream.launch({.name = "test"}, std::move(f));
  }
  template <class T>
  [[nodiscard]] static T* memory(T* device_address) {
    return device_address;
  }
};

// A device array with the elements of `values`.
template <class T, class Device = rondel::host_device>
class uploaded {
 public:
  uploaded(Device& device, typename Device::stream_type& stream, const std::vector<T>& values)
      : array_(device, stream, values.size()) {
    stream.upload(rondel::as_writable_bytes(array_.span()),
                  std::as_bytes(std::span<const T>(values)));
    stream.synchronize();
  }
  [[nodiscard]] rondel::device_span<T> span() { return array_.span(); }

 private:
  rondel::device_array<T, Device> array_;
};

// The elements of `span`, after all that `stream` has queued.
template <class Stream, class T>
[[nodiscard]] std::vector<std::remove_const_t<T>> download(Stream& stream,
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
