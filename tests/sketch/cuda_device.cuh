#pragma once
// A model of the concept `device` on CUDA. Compile-only: it holds the concepts to the real API.
#include <rondel/core/error.hpp>
#include <rondel/core/reduction.hpp>
#include <rondel/device/accounts.hpp>
#include <rondel/device/concepts.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace sketch {

inline void check(cudaError_t code, const char* call,
                  rondel::source_location where = rondel::source_location::current()) {
  if (code == cudaSuccess) return;
  (void)cudaGetLastError();  // a call's own failure must not surface at the next kernel
  throw rondel::error(rondel::concat(call, ": ", cudaGetErrorString(code)), where);
}

// Each call that creates something does so on the device of its owner.
class device_guard {
 public:
  explicit device_guard(int ordinal) {
    check(cudaGetDevice(&before_), "cudaGetDevice");
    check(cudaSetDevice(ordinal), "cudaSetDevice");
  }
  device_guard(const device_guard&) = delete;
  device_guard& operator=(const device_guard&) = delete;
  ~device_guard() { (void)cudaSetDevice(before_); }

 private:
  int before_ = 0;
};

// Whoever a stream may wait for without end: throws when that cannot be waited for any longer.
class stream_watcher {
 public:
  virtual void poll() = 0;

 protected:
  ~stream_watcher() = default;
};
using watchers = std::vector<std::weak_ptr<stream_watcher>>;

// Never cudaStreamSynchronize: a peer that is gone would block it for ever.
template <class Query>
void wait_for(const Query& query, const watchers* watched) {
  for (;;) {
    const cudaError_t state = query();
    if (state != cudaErrorNotReady) return check(state, "synchronize");
    if (watched != nullptr) {
      for (const auto& one : *watched) {
        if (const auto watcher = one.lock()) watcher->poll();
      }
    }
    std::this_thread::yield();
  }
}

class cuda_event {
 public:
  explicit cuda_event(int ordinal) {
    const device_guard guard(ordinal);
    check(cudaEventCreateWithFlags(&handle_, cudaEventDisableTiming), "cudaEventCreate");
  }
  cuda_event(cuda_event&& other) noexcept { swap(other); }
  cuda_event& operator=(cuda_event&& other) noexcept {
    cuda_event(std::move(other)).swap(*this);
    return *this;
  }
  ~cuda_event() {
    if (handle_ != nullptr) (void)cudaEventDestroy(handle_);
  }

  [[nodiscard]] bool ready() const {
    const cudaError_t state = cudaEventQuery(handle_);
    if (state == cudaErrorNotReady) return false;
    check(state, "cudaEventQuery");
    return true;
  }
  void synchronize() const {
    wait_for([&] { return cudaEventQuery(handle_); }, watched_.get());
  }

 private:
  friend class cuda_stream;

  void swap(cuda_event& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(watched_, other.watched_);
  }

  cudaEvent_t handle_ = nullptr;
  std::shared_ptr<const watchers> watched_;  // of the stream that recorded it last
};

// A captured region; launched as one piece of work.
class cuda_graph {
 public:
  explicit cuda_graph(cudaGraph_t graph) {
    const cudaError_t code = cudaGraphInstantiate(&handle_, graph, 0);
    (void)cudaGraphDestroy(graph);
    check(code, "cudaGraphInstantiate");
  }
  cuda_graph(cuda_graph&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  cuda_graph& operator=(cuda_graph&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~cuda_graph() {
    if (handle_ != nullptr) (void)cudaGraphExecDestroy(handle_);
  }

  void enqueue(cudaStream_t s) const { check(cudaGraphLaunch(handle_, s), "cudaGraphLaunch"); }

 private:
  cudaGraphExec_t handle_ = nullptr;
};

class cuda_stream {
 public:
  using event_type = cuda_event;

  cuda_stream(std::shared_ptr<rondel::detail::device_account> account, int ordinal)
      : account_(std::move(account)), watched_(std::make_shared<watchers>()) {
    const device_guard guard(ordinal);
    check(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking), "cudaStreamCreate");
  }
  cuda_stream(cuda_stream&& other) noexcept { swap(other); }
  cuda_stream& operator=(cuda_stream&& other) noexcept {
    cuda_stream(std::move(other)).swap(*this);
    return *this;
  }
  ~cuda_stream() {
    if (handle_ != nullptr) (void)cudaStreamDestroy(handle_);  // queued work still runs
  }

  template <std::invocable<cudaStream_t> F>
  void launch(const rondel::work& w, F&& f) {
    account_->launched(w);
    std::forward<F>(f)(handle_);
    check(cudaPeekAtLastError(), w.name);
  }

  void copy(rondel::device_span<std::byte> to, rondel::device_span<const std::byte> from) {
    transfer("copy", to.data(), to.size(), from.data(), from.size(), cudaMemcpyDeviceToDevice);
  }
  void upload(rondel::device_span<std::byte> to, std::span<const std::byte> from) {
    transfer("upload", to.data(), to.size(), from.data(), from.size(), cudaMemcpyHostToDevice);
  }
  void download(std::span<std::byte> to, rondel::device_span<const std::byte> from) {
    transfer("download", to.data(), to.size(), from.data(), from.size(), cudaMemcpyDeviceToHost);
  }

  void record(cuda_event& e) {
    check(cudaEventRecord(e.handle_, handle_), "cudaEventRecord");
    e.watched_ = watched_;
  }
  void wait(const cuda_event& e) {
    check(cudaStreamWaitEvent(handle_, e.handle_, 0), "cudaStreamWaitEvent");
  }
  [[nodiscard]] bool idle() const {
    const cudaError_t state = cudaStreamQuery(handle_);
    if (state == cudaErrorNotReady) return false;
    check(state, "cudaStreamQuery");
    return true;
  }
  void synchronize() {
    wait_for([&] { return cudaStreamQuery(handle_); }, watched_.get());
  }

  // What `f(*this)` queues becomes a graph instead of running. Streams that wait for an event
  // of this one, and that this one waits for before the end, join the capture.
  template <std::invocable<cuda_stream&> F>
  [[nodiscard]] cuda_graph capture(F&& f) {
    check(cudaStreamBeginCapture(handle_, cudaStreamCaptureModeThreadLocal), "begin capture");
    cudaGraph_t graph = nullptr;
    try {
      std::forward<F>(f)(*this);
    } catch (...) {
      (void)cudaStreamEndCapture(handle_, &graph);
      if (graph != nullptr) (void)cudaGraphDestroy(graph);
      throw;
    }
    check(cudaStreamEndCapture(handle_, &graph), "cudaStreamEndCapture");
    return cuda_graph(graph);
  }
  [[nodiscard]] bool capturing() const {
    auto status = cudaStreamCaptureStatusNone;
    check(cudaStreamIsCapturing(handle_, &status), "cudaStreamIsCapturing");
    return status != cudaStreamCaptureStatusNone;
  }

  [[nodiscard]] cudaStream_t native_handle() const noexcept { return handle_; }
  void watch(const std::shared_ptr<stream_watcher>& watcher) {
    std::erase_if(*watched_, [](const auto& one) { return one.expired(); });
    for (const auto& one : *watched_) {
      if (one.lock() == watcher) return;
    }
    watched_->push_back(watcher);
  }

 private:
  void transfer(const char* name, void* to, std::size_t to_size, const void* from,
                std::size_t from_size, cudaMemcpyKind kind) {
    rondel::detail::check_copy(name, to_size, from_size);
    if (to_size == 0) return;
    launch({.name = name, .bytes_read = from_size, .bytes_written = to_size},
           [&](cudaStream_t s) { check(cudaMemcpyAsync(to, from, to_size, kind, s), name); });
  }
  void swap(cuda_stream& other) noexcept {
    std::swap(account_, other.account_);
    std::swap(watched_, other.watched_);
    std::swap(handle_, other.handle_);
  }

  std::shared_ptr<rondel::detail::device_account> account_;
  std::shared_ptr<watchers> watched_;
  cudaStream_t handle_ = nullptr;
};

// A pool of the device's own, so that nobody else's allocations count.
class cuda_pool {
 public:
  explicit cuda_pool(int ordinal) {
    cudaMemPoolProps properties = {};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = ordinal;
    check(cudaMemPoolCreate(&handle_, &properties), "cudaMemPoolCreate");
    std::uint64_t keep = UINT64_MAX;
    check(cudaMemPoolSetAttribute(handle_, cudaMemPoolAttrReleaseThreshold, &keep),
          "cudaMemPoolSetAttribute");
  }
  cuda_pool(const cuda_pool&) = delete;
  cuda_pool& operator=(const cuda_pool&) = delete;
  ~cuda_pool() { (void)cudaMemPoolDestroy(handle_); }
  [[nodiscard]] cudaMemPool_t native_handle() const noexcept { return handle_; }

 private:
  cudaMemPool_t handle_ = nullptr;
};

class cuda_buffer {
 public:
  cuda_buffer() = default;
  cuda_buffer(std::shared_ptr<rondel::detail::device_account> account,
              std::shared_ptr<cuda_pool> pool, cudaStream_t stream, std::size_t size)
      : account_(std::move(account)), pool_(std::move(pool)), stream_(stream), size_(size) {
    if (size == 0) return;
    account_->reserve(size);
    const cudaError_t code = cudaMallocFromPoolAsync(&data_, size, pool_->native_handle(), stream);
    if (code != cudaSuccess) {
      account_->release(size);
      if (code != cudaErrorMemoryAllocation) check(code, "cudaMallocFromPoolAsync");
      (void)cudaGetLastError();
      const rondel::memory_usage usage = account_->memory();
      throw rondel::out_of_memory(account_->rank(), size, usage.live, usage.limit);
    }
    account_->allocated();
  }
  cuda_buffer(cuda_buffer&& other) noexcept { swap(other); }
  cuda_buffer& operator=(cuda_buffer&& other) noexcept {
    cuda_buffer(std::move(other)).swap(*this);
    return *this;
  }
  ~cuda_buffer() {
    if (data_ == nullptr) return;
    account_->release(size_);
    (void)cudaFreeAsync(data_, stream_);
  }

  [[nodiscard]] void* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  void swap(cuda_buffer& other) noexcept {
    std::swap(account_, other.account_);
    std::swap(pool_, other.pool_);
    std::swap(stream_, other.stream_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  std::shared_ptr<rondel::detail::device_account> account_;
  std::shared_ptr<cuda_pool> pool_;
  cudaStream_t stream_ = nullptr;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

class cuda_device {
 public:
  using stream_type = cuda_stream;
  using event_type = cuda_event;
  using buffer_type = cuda_buffer;

  explicit cuda_device(int ordinal, int rank = -1, std::uint64_t limit = UINT64_MAX)
      : ordinal_(ordinal),
        account_(std::make_shared<rondel::detail::device_account>(rank, limit)),
        pool_(std::make_shared<cuda_pool>(ordinal)) {}

  [[nodiscard]] cuda_stream make_stream(const char* = "stream") { return {account_, ordinal_}; }
  [[nodiscard]] cuda_event make_event() const { return cuda_event(ordinal_); }
  [[nodiscard]] cuda_buffer allocate(cuda_stream& stream, std::size_t bytes) {
    return {account_, pool_, stream.native_handle(), bytes};
  }
  [[nodiscard]] rondel::memory_usage memory() const noexcept { return account_->memory(); }
  [[nodiscard]] int rank() const noexcept { return account_->rank(); }
  [[nodiscard]] int ordinal() const noexcept { return ordinal_; }

 private:
  int ordinal_;
  std::shared_ptr<rondel::detail::device_account> account_;
  std::shared_ptr<cuda_pool> pool_;
};

// What a kernel reads and writes for an element type of rondel.
template <class T>
struct on_gpu {
  using type = T;
  using accumulator = T;
};
template <>
struct on_gpu<rondel::bfloat16> {
  using type = __nv_bfloat16;
  using accumulator = float;
};
template <>
struct on_gpu<rondel::float16> {
  using type = __half;
  using accumulator = float;
};

// The built-in reductions are host functions; these are their device side. A user's reduction
// is called as it is and must be `__host__ __device__`.
template <class Op>
struct gpu_op {
  Op op;
  template <class A>
  __device__ A operator()(A a, A b) const {
    return op(a, b);
  }
  template <class A>
  __device__ A finish(A a, int) const {
    return a;
  }
};
template <>
struct gpu_op<rondel::sum> {
  rondel::sum op;
  template <class A>
  __device__ A operator()(A a, A b) const {
    if constexpr (std::is_integral_v<A>) {
      using u = std::make_unsigned_t<A>;
      return static_cast<A>(static_cast<u>(static_cast<u>(a) + static_cast<u>(b)));
    } else {
      return a + b;
    }
  }
  template <class A>
  __device__ A finish(A a, int) const {
    return a;
  }
};
template <>
struct gpu_op<rondel::mean> {
  rondel::mean op;
  template <class A>
  __device__ A operator()(A a, A b) const {
    return gpu_op<rondel::sum>{}(a, b);
  }
  template <class A>
  __device__ A finish(A a, int ranks) const {
    if constexpr (std::is_integral_v<A>) {
      return static_cast<A>(static_cast<std::int64_t>(a) / ranks);
    } else {
      return a / static_cast<A>(ranks);
    }
  }
};
template <>
struct gpu_op<rondel::max> {
  rondel::max op;
  template <class A>
  __device__ A operator()(A a, A b) const {
    return a < b ? b : a;
  }
  template <class A>
  __device__ A finish(A a, int) const {
    return a;
  }
};
template <>
struct gpu_op<rondel::min> {
  rondel::min op;
  template <class A>
  __device__ A operator()(A a, A b) const {
    return b < a ? b : a;
  }
  template <class A>
  __device__ A finish(A a, int) const {
    return a;
  }
};

template <class T, class Op>
using accumulator_of =
    std::conditional_t<rondel::detail::is_built_in<Op>, typename on_gpu<T>::accumulator, T>;

template <class A, class G>
__global__ void reduce_two(G* out, const G* a, const G* b, std::size_t n, auto op, int ranks,
                           bool last) {
  const std::size_t step = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += step) {
    const A value = op(static_cast<A>(a[i]), static_cast<A>(b[i]));
    out[i] = static_cast<G>(last ? op.finish(value, ranks) : value);
  }
}

// Inputs travel as kernel parameters, which may take 4 KiB.
template <class G>
struct inputs {
  static constexpr std::size_t most = 480;
  const G* in[most];
  int size;
};

template <class A, class G>
__global__ void reduce_in_order(G* out, inputs<G> from, std::size_t n, auto op) {
  const std::size_t step = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += step) {
    A value = static_cast<A>(from.in[0][i]);
    for (int r = 1; r < from.size; ++r) value = op(value, static_cast<A>(from.in[r][i]));
    out[i] = static_cast<G>(op.finish(value, from.size));
  }
}

inline unsigned grid(std::size_t n) {
  return static_cast<unsigned>(n / 256 < 1024 ? n / 256 + 1 : 1024);
}

}  // namespace sketch

template <>
struct rondel::kernels<sketch::cuda_device> {
  template <class T, class Op>
  static void reduce(sketch::cuda_stream& s, device_span<T> out, device_span<const T> a,
                     device_span<const T> b, Op op, int ranks, bool last) {
    using gpu = typename sketch::on_gpu<T>::type;
    using accumulator = sketch::accumulator_of<T, Op>;
    if (out.empty()) return;
    s.launch({.name = "reduce",
              .flops = static_cast<double>(out.size()),
              .bytes_read = 2 * out.size_bytes(),
              .bytes_written = out.size_bytes()},
             [&](cudaStream_t stream) {
               sketch::reduce_two<accumulator><<<sketch::grid(out.size()), 256, 0, stream>>>(
                   reinterpret_cast<gpu*>(out.data()), reinterpret_cast<const gpu*>(a.data()),
                   reinterpret_cast<const gpu*>(b.data()), out.size(), sketch::gpu_op<Op>{op},
                   ranks, last);
             });
  }

  template <class T, class Op>
  static void reduce_many(sketch::cuda_stream& s, device_span<T> out,
                          std::vector<device_span<const T>> in, Op op) {
    using gpu = typename sketch::on_gpu<T>::type;
    using accumulator = sketch::accumulator_of<T, Op>;
    if (out.empty()) return;
    if (in.size() > sketch::inputs<gpu>::most) throw invalid_argument("reduce_many: too many");
    sketch::inputs<gpu> from = {};
    for (const auto& one : in) from.in[from.size++] = reinterpret_cast<const gpu*>(one.data());
    s.launch({.name = "reduce",
              .flops = static_cast<double>(out.size()) * static_cast<double>(in.size() - 1),
              .bytes_read = in.size() * out.size_bytes(),
              .bytes_written = out.size_bytes()},
             [&](cudaStream_t stream) {
               sketch::reduce_in_order<accumulator><<<sketch::grid(out.size()), 256, 0, stream>>>(
                   reinterpret_cast<gpu*>(out.data()), from, out.size(), sketch::gpu_op<Op>{op});
             });
  }
};
