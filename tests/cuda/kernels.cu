// Every kernel of `cuda_device`, for every element type. Compile-only where there is no GPU.
#include <rondel/device/array.hpp>
#include <rondel/device/cuda_kernels.cuh>

#include <cstdint>
#include <vector>

namespace {

using rondel::device_span;
using kernels = rondel::kernels<rondel::cuda_device>;

struct absolute_larger {
  template <class T>
  __host__ __device__ T operator()(T a, T b) const {
    return (a < T{} ? -a : a) < (b < T{} ? -b : b) ? b : a;
  }
};
static_assert(rondel::reduction<absolute_larger, float>);

template <class T, class Op>
void reduce_all(rondel::cuda_stream& s, device_span<T> x, Op op) {
  const device_span<const T> in = x;
  kernels::reduce<T>(s, x, in, in, op, 2, true);
  kernels::reduce_many<T>(s, x, {in, in, in}, op);
}

template <class T>
void every_kernel(rondel::cuda_device& device, rondel::cuda_stream& s) {
  rondel::device_array<T, rondel::cuda_device> x(device, s, 1024), y(device, s, 1024);
  rondel::device_array<std::int32_t, rondel::cuda_device> index(device, s, 8);
  reduce_all(s, x.span(), rondel::sum{});
  reduce_all(s, x.span(), rondel::mean{});
  reduce_all(s, x.span(), rondel::max{});
  reduce_all(s, x.span(), rondel::min{});
  const device_span<const T> from = y.span();
  const device_span<const std::int32_t> rows = index.span();
  kernels::copy_strided<T>(s, x.span(), from, rondel::permutation<2>({32, 32}, {1, 0}));
  kernels::gather_rows<T>(s, x.span(), from, rows, 128);
  kernels::scatter_rows<T>(s, x.span(), from, rows, 128);
  rondel::device_array<float, rondel::cuda_device> wide(device, s, 1024);
  kernels::cast<T>(s, x.span(), device_span<const float>(wide.span()));
  kernels::cast<float>(s, wide.span(), from);
}

}  // namespace

void use_every_kernel() {
  rondel::cuda_device device;
  auto s = device.make_stream("compute");
  every_kernel<double>(device, s);
  every_kernel<float>(device, s);
  every_kernel<rondel::bfloat16>(device, s);
  every_kernel<rondel::float16>(device, s);
  every_kernel<std::int64_t>(device, s);
  every_kernel<std::int32_t>(device, s);
  every_kernel<std::uint8_t>(device, s);
  rondel::device_array<float, rondel::cuda_device> p(device, s, 64), g(device, s, 64);
  rondel::device_array<float, rondel::cuda_device> m(device, s, 64), v(device, s, 64);
  rondel::device_array<rondel::bfloat16, rondel::cuda_device> low(device, s, 64);
  reduce_all(s, p.span(), absolute_larger{});
  kernels::adam(s, {.step = 3}, p.span(), device_span<const float>(g.span()), m.span(), v.span());
  kernels::adam(s, {.step = 3}, p.span(), device_span<const rondel::bfloat16>(low.span()), m.span(),
                v.span(), low.span(), device_span<const float>(g.span().first(1)));
}
