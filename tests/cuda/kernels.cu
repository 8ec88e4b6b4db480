// Every kernel of `cuda_device`, for every element type, against the host's, bit for bit. Compiled
// everywhere, and run where there is a GPU: nvcc -std=c++20 -Iinclude -Itests/support
// tests/cuda/kernels.cu tests/main.cpp
#include <rondel/device/array.hpp>
#include <rondel/device/cuda_host_buffer.hpp>
#include <rondel/device/cuda_kernels.cuh>
#include <rondel/device/host_kernels.hpp>

#include "host_data.hpp"

#include <cstddef>
#include <cstdint>
#include <random>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

namespace {

using rondel::cuda_device;
using rondel::device_span;
using rondel::host_device;

// Sizes around a pack of 16 bytes, a block and a grid.
constexpr std::size_t sizes[] = {1, 7, 16, 255, 1000, 100'003, 1'500'000};

template <class T>
std::vector<T> random_values(std::size_t n, unsigned seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, 100);
  std::vector<T> out(n);
  for (T& x : out) {
    if constexpr (std::is_integral_v<T>) {
      x = static_cast<T>(random());
    } else {
      x = rondel::detail::element_cast<T>(normal(random));
    }
  }
  return out;
}

// What `f(kernels, stream, in, out)` makes of `in` on a device; `out` begins as `in` does, so that
// what is not written counts too. `offset` elements are skipped first, which breaks the alignment
// to 16 bytes.
template <class Device, class Out, class In, class F>
std::vector<Out> result_of(const std::vector<In>& in, std::size_t out_size, std::size_t offset,
                           const F& f) {
  Device device;
  auto stream = device.make_stream();
  test::uploaded<In, Device> from(device, stream, in);
  test::uploaded<Out, Device> to(device, stream, std::vector<Out>(out_size + offset));
  f(rondel::kernels<Device>{}, device, stream,
    device_span<const In>(from.span()).subspan(offset, in.size() - offset),
    to.span().subspan(offset, out_size));
  return test::download(stream, to.span());
}

template <class Out, class In, class F>
void same(const std::vector<In>& in, std::size_t out_size, std::size_t offset, const F& f) {
  const auto host = result_of<host_device, Out>(in, out_size, offset, f);
  const auto gpu = result_of<cuda_device, Out>(in, out_size, offset, f);
  CHECK(test::bits(host) == test::bits(gpu));
}

struct absolute_larger {
  template <class T>
  RONDEL_HOST_DEVICE T operator()(T a, T b) const {
    return (a < T{} ? -a : a) < (b < T{} ? -b : b) ? b : a;
  }
};

template <class T, class Op>
void reductions(Op op) {
  for (const std::size_t n : sizes) {
    for (const std::size_t offset : {0, 1}) {
      CAPTURE(n);
      CAPTURE(offset);
      const auto in = random_values<T>(3 * n + offset, 1);
      same<T>(in, n, offset, [&](auto kernels, auto&, auto& stream, auto from, auto to) {
        kernels.template reduce<T>(stream, to, from.subspan(0, n), from.subspan(n, n), op, 2, true);
      });
      same<T>(in, 2 * n, offset, [&](auto kernels, auto&, auto& stream, auto from, auto to) {
        kernels.template reduce_to_many<T>(
            stream, {to.subspan(0, n), to.subspan(n, n)},
            {from.subspan(0, n), from.subspan(n, n), from.subspan(2 * n, n)}, op);
      });
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("reductions", T, double, float, rondel::bfloat16, rondel::float16, std::int64_t,
                   std::int32_t, std::uint8_t) {
  reductions<T>(rondel::sum{});
  reductions<T>(rondel::mean{});
  reductions<T>(rondel::max{});
  reductions<T>(rondel::min{});
}

TEST_CASE("a user's reduction, and many inputs") {
  reductions<float>(absolute_larger{});
  constexpr std::size_t n = 1001;
  constexpr std::size_t many = 200;
  const auto in = random_values<float>(many * n, 2);
  same<float>(in, n, 0, [&](auto kernels, auto&, auto& stream, auto from, auto to) {
    std::vector<device_span<const float>> parts;
    for (std::size_t i = 0; i < many; ++i) parts.push_back(from.subspan(i * n, n));
    kernels.template reduce_many<float>(stream, to, parts, rondel::mean{});
  });
}

TEST_CASE_TEMPLATE("copies and rows", T, double, rondel::bfloat16, std::uint8_t) {
  const auto in = random_values<T>(30 * 40 * 50, 3);
  const auto permute = rondel::permutation<3>({30, 40, 50}, {2, 0, 1});
  same<T>(in, in.size(), 0, [&](auto kernels, auto&, auto& stream, auto from, auto to) {
    kernels.template copy_strided<T>(stream, to, from, permute);
  });
  same<T>(in, 20, 0, [&](auto kernels, auto&, auto& stream, auto from, auto to) {
    kernels.template copy_strided<T>(stream, to, from,
                                     rondel::strided_copy().add(4, 700, 5).add(3, 9, 1));
  });
  const std::vector<std::int32_t> index{7, 0, 3, 59'999 / 100, 5};
  same<T>(in, 500, 0, [&](auto kernels, auto& device, auto& stream, auto from, auto to) {
    test::uploaded<std::int32_t, std::remove_reference_t<decltype(device)>> rows(device, stream,
                                                                                 index);
    kernels.template gather_rows<T>(stream, to, from, device_span<const std::int32_t>(rows.span()),
                                    100);
    stream.synchronize();
  });
  same<T>(in, in.size(), 0, [&](auto kernels, auto& device, auto& stream, auto from, auto to) {
    test::uploaded<std::int32_t, std::remove_reference_t<decltype(device)>> rows(device, stream,
                                                                                 index);
    kernels.template scatter_rows<T>(stream, to, from.subspan(0, 500),
                                     device_span<const std::int32_t>(rows.span()), 100);
    stream.synchronize();
  });
}

TEST_CASE_TEMPLATE("casts", T, double, rondel::bfloat16, rondel::float16, std::int32_t) {
  // Every 16-bit float that is no NaN, and what lies between them.
  std::vector<float> in;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    if constexpr (std::is_integral_v<T>) {
      in.push_back(static_cast<float>(bits) - 30'000.5F);
    } else {
      const float x = rondel::detail::same_bits<float>((bits << 16) | 0x8000U);
      if (x == x) in.push_back(x);
    }
  }
  same<T>(in, in.size(), 0, [&](auto kernels, auto&, auto& stream, auto from, auto to) {
    kernels.template cast<T>(stream, to, from);
  });
  const auto back = random_values<T>(5000, 4);
  same<float>(back, back.size(), 0, [&](auto kernels, auto&, auto& stream, auto from, auto to) {
    kernels.template cast<float>(stream, to, from);
  });
}

TEST_CASE("Adam") {
  constexpr std::size_t n = 10'007;
  const auto in = random_values<float>(n, 5);
  const auto steps = [&](auto kernels, auto& device, auto& stream, auto from, auto to) {
    using device_type = std::remove_reference_t<decltype(device)>;
    test::uploaded<float, device_type> p(device, stream, in);
    test::uploaded<float, device_type> m(device, stream, std::vector<float>(n));
    test::uploaded<float, device_type> v(device, stream, std::vector<float>(n));
    test::uploaded<float, device_type> scale(device, stream, {0.3F});
    for (std::uint64_t t = 1; t <= 20; ++t) {
      kernels.adam(stream, {.learning_rate = 0.02, .weight_decay = 0.1, .step = t}, p.span(), from,
                   m.span(), v.span(), to, device_span<const float>(scale.span()));
    }
    stream.synchronize();
  };
  same<rondel::bfloat16>(in, n, 0, steps);
}
