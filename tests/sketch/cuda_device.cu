// A CUDA model of the device concepts. Compile-only: nothing here is run.
#include <rondel/device/array.hpp>
#include <rondel/device/dlpack.hpp>

#include "cuda_device.cuh"

template <>
struct rondel::dlpack_memory<sketch::cuda_device> {
  static rondel::dlpack::device id(const sketch::cuda_device& d) {
    return {rondel::dlpack::device_kind::cuda, d.ordinal()};
  }
  static bool takes(const sketch::cuda_device& d, rondel::dlpack::device where) {
    return where == id(d) || where.device_type == rondel::dlpack::device_kind::cuda_managed;
  }
};

static_assert(rondel::event<sketch::cuda_event>);
static_assert(rondel::stream<sketch::cuda_stream>);
static_assert(rondel::buffer<sketch::cuda_buffer>);
static_assert(rondel::device<sketch::cuda_device>);
static_assert(rondel::lending_device<sketch::cuda_device>);
static_assert(!std::copyable<sketch::cuda_stream> && !std::copyable<sketch::cuda_buffer>);

namespace {

struct absolute_larger {
  __host__ __device__ float operator()(float a, float b) const {
    return (a < 0 ? -a : a) < (b < 0 ? -b : b) ? b : a;
  }
};
static_assert(rondel::reduction<absolute_larger, float>);

__global__ void scale(float* x, std::size_t n, float factor) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) x[i] *= factor;
}

template <class T, class Op>
void reduce_all(sketch::cuda_stream& s, rondel::device_span<T> x, Op op) {
  using kernels = rondel::kernels<sketch::cuda_device>;
  const rondel::device_span<const T> in = x;
  kernels::reduce<T>(s, x, in, in, op, 2, true);
  kernels::reduce_many<T>(s, x, {in, in, in}, op);
}

template <class T>
void reduce_element(sketch::cuda_device& device, sketch::cuda_stream& s) {
  rondel::device_array<T, sketch::cuda_device> x(device, s, 1024);
  reduce_all(s, x.span(), rondel::sum{});
  reduce_all(s, x.span(), rondel::mean{});
  reduce_all(s, x.span(), rondel::max{});
  reduce_all(s, x.span(), rondel::min{});
}

}  // namespace

// One program over everything a stream does.
void use_cuda_device() {
  sketch::cuda_device device(0);
  sketch::cuda_stream compute = device.make_stream("compute");
  sketch::cuda_stream copies = device.make_stream("copies");
  sketch::cuda_event done = device.make_event();

  rondel::device_array<float, sketch::cuda_device> x(device, compute, 1024);
  std::vector<float> host(x.size(), 1.0F);
  compute.upload(rondel::as_writable_bytes(x.span()), std::as_bytes(std::span(host)));
  const rondel::work w = {.name = "scale", .flops = 1024, .bytes_read = 4096};
  const auto kernel = [x = x.span()](cudaStream_t s) {
    scale<<<4, 256, 0, s>>>(x.data(), x.size(), 2.0F);
  };
  const auto lent = rondel::from_dlpack(
      device, rondel::to_dlpack(device, rondel::make_array<float>(device, compute, 8)).release());
  compute.copy(rondel::as_writable_bytes(x.span().first(8)), rondel::as_bytes(lent.span<float>()));
  compute.launch(w, kernel);
  compute.record(done);
  copies.wait(done);
  copies.download(std::as_writable_bytes(std::span(host)),
                  rondel::as_bytes(std::as_const(x).span()));
  copies.synchronize();

  const sketch::cuda_graph graph = compute.capture([&](sketch::cuda_stream& s) {
    s.launch(w, kernel);
    s.record(done);
    copies.wait(done);
    copies.launch(w, kernel);
    copies.record(done);
    s.wait(done);
  });
  compute.launch(w, [&](cudaStream_t s) { graph.enqueue(s); });
  compute.synchronize();

  reduce_element<double>(device, compute);
  reduce_element<float>(device, compute);
  reduce_element<rondel::bfloat16>(device, compute);
  reduce_element<rondel::float16>(device, compute);
  reduce_element<std::int64_t>(device, compute);
  reduce_element<std::int32_t>(device, compute);
  reduce_element<std::uint8_t>(device, compute);
  reduce_all(compute, x.span(), absolute_larger{});
}
