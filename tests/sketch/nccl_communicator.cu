// An NCCL model of the communicator concept. Compile-only: nothing here is run.
#include <rondel/collective/all_gather.hpp>
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/all_to_all.hpp>
#include <rondel/collective/barrier.hpp>
#include <rondel/collective/broadcast.hpp>
#include <rondel/collective/reduce_scatter.hpp>
#include <rondel/collective/ring_pass.hpp>
#include <rondel/comm/concepts.hpp>
#include <rondel/comm/send_recv_only.hpp>

#include "cuda_device.cuh"

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include <nccl.h>

namespace sketch {

// The channel beside NCCL that every NCCL job needs: NCCL tells no rank that another one gave
// up. It comes from whatever started the ranks.
class side_channel {
 public:
  virtual ~side_channel() = default;
  // Tells all ranks that `rank` failed first.
  virtual void announce(int rank, std::string_view reason) noexcept = 0;
  struct failure {
    int rank;
    std::string reason;
  };
  // What was announced, if anything; never blocks.
  [[nodiscard]] virtual std::optional<failure> announced() = 0;
};

// Gathers host bytes of all ranks beside NCCL; without one they go through device memory.
using host_exchange = std::function<void(std::span<const std::byte>, std::span<std::byte>)>;

template <class T>
inline constexpr ncclDataType_t nccl_type = [] {
  switch (rondel::dtype_of<T>) {
    case rondel::dtype::f64:
      return ncclFloat64;
    case rondel::dtype::f32:
      return ncclFloat32;
    case rondel::dtype::bf16:
      return ncclBfloat16;
    case rondel::dtype::f16:
      return ncclFloat16;
    case rondel::dtype::i64:
      return ncclInt64;
    case rondel::dtype::i32:
      return ncclInt32;
    case rondel::dtype::u8:
      return ncclUint8;
  }
  return ncclNumTypes;
}();

// Reductions that NCCL has and that mean the same there. Its average scales floats before it
// adds them, so a mean is left to the generic form.
template <class Op>
inline constexpr ncclRedOp_t nccl_op = ncclNumOps;
template <>
inline constexpr ncclRedOp_t nccl_op<rondel::sum> = ncclSum;
template <>
inline constexpr ncclRedOp_t nccl_op<rondel::max> = ncclMax;
template <>
inline constexpr ncclRedOp_t nccl_op<rondel::min> = ncclMin;
template <class Op>
concept nccl_reduction = nccl_op<Op>
!= ncclNumOps;

// Groups are a state of the thread: one that stays open swallows every later call.
class nccl_group {
 public:
  nccl_group() : result_(ncclGroupStart()), open_(result_ == ncclSuccess) {}
  nccl_group(const nccl_group&) = delete;
  nccl_group& operator=(const nccl_group&) = delete;
  ~nccl_group() {
    if (open_) (void)ncclGroupEnd();
  }
  // Keeps the first that went wrong; the group is closed in any case.
  void add(ncclResult_t result) noexcept {
    if (result_ == ncclSuccess && result != ncclInProgress) result_ = result;
  }
  [[nodiscard]] ncclResult_t end() noexcept {
    if (open_) {
      open_ = false;
      const ncclResult_t ended = ncclGroupEnd();
      if (result_ == ncclSuccess) result_ = ended;
    }
    return result_;
  }

 private:
  ncclResult_t result_;
  bool open_;
};

// What a communicator and those made from it need at every call.
class nccl_state final : public stream_watcher {
 public:
  nccl_state(cuda_device& device, std::shared_ptr<side_channel> channel, host_exchange exchange,
             int rank, int world_rank, rondel::seconds timeout)
      : device(&device),
        channel(std::move(channel)),
        exchange(std::move(exchange)),
        rank(rank),
        world_rank(world_rank),
        timeout(timeout),
        last(device.make_event()) {}
  nccl_state(const nccl_state&) = delete;
  nccl_state& operator=(const nccl_state&) = delete;

  // Destroying is a collective of the node, so it is left only to ranks that leave in good
  // order; a rank that unwinds aborts, once all have been told to do the same.
  ~nccl_state() {
    if (handle == nullptr) return;
    if (!dead && std::uncaught_exceptions() > 0) fail("the rank left by an exception");
    if (dead) return;
    try {
      settle(ncclCommFinalize(handle), "ncclCommFinalize");
      (void)ncclCommDestroy(handle);
    } catch (...) {
      // The deadline or a peer's failure; `settle` has aborted.
    }
  }

  // Waits until the communicator takes calls again.
  void settle(ncclResult_t result, const char* call) {
    if (result != ncclSuccess && result != ncclInProgress) throw_failed(result, call);
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout.value);
    for (;;) {
      const ncclResult_t state = poll_once();
      if (state == ncclSuccess) return;
      if (state != ncclInProgress) throw_failed(state, call);
      if (std::chrono::steady_clock::now() > deadline) {
        const std::string reason = rondel::concat("rank ", world_rank, " in ", to_string(current),
                                                  ": no answer in ", timeout.value, " s");
        fail(reason);
        throw rondel::timed_out(reason, world_rank);
      }
      std::this_thread::yield();
    }
  }

  // From a stream that waits: throws if the wait is in vain.
  void poll() override {
    const ncclResult_t state = poll_once();
    if (state != ncclSuccess && state != ncclInProgress)
      throw_failed(state, "ncclCommGetAsyncError");
  }

  void throw_if_dead() {
    if (const auto failure = channel->announced()) {
      fail(failure->reason);
      throw rondel::peer_failed(
          rondel::concat("rank ", world_rank, " in ", to_string(current), ": rank ", failure->rank,
                         " failed first: ", failure->reason),
          world_rank, failure->rank);
    }
  }

  void fail(std::string_view reason) noexcept {
    if (dead) return;
    dead = true;
    channel->announce(world_rank, reason);
    if (handle != nullptr) (void)ncclCommAbort(handle);
  }

  cuda_device* device;
  std::shared_ptr<side_channel> channel;
  host_exchange exchange;
  int rank;
  int size = 0;
  int world_rank;
  rondel::seconds timeout;
  cuda_event last;  // behind all that was queued, save in a capture
  cuda_stream* stream = nullptr;
  rondel::operation current;
  ncclComm_t handle = nullptr;
  bool dead = false;

 private:
  ncclResult_t poll_once() {
    throw_if_dead();
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(handle, &state);
    return asked == ncclSuccess ? state : asked;
  }

  [[noreturn]] void throw_failed(ncclResult_t result, const char* call) {
    const char* detail = dead ? "" : ncclGetLastError(handle);
    const std::string reason = rondel::concat("rank ", world_rank, " in ", to_string(current), ": ",
                                              call, ": ", ncclGetErrorString(result), " ", detail);
    fail(reason);
    throw rondel::communication_error(reason, world_rank);
  }
};

// Non-blocking, because only such a communicator can be given up.
[[nodiscard]] inline ncclConfig_t nccl_config() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

class nccl_batch {
 public:
  nccl_batch(std::shared_ptr<nccl_state> state, cuda_stream& stream)
      : state_(std::move(state)), stream_(&stream) {}

  void send(int peer, rondel::device_span<const std::byte> bytes) {
    // One type serves both directions; a send only reads it.
    messages_.push_back({peer, const_cast<std::byte*>(bytes.data()), bytes.size(), true});
  }
  void recv(int peer, rondel::device_span<std::byte> bytes) {
    messages_.push_back({peer, bytes.data(), bytes.size(), false});
  }
  void submit() {
    if (messages_.empty()) return;
    stream_->watch(state_);
    stream_->launch({.name = "messages"}, [&](cudaStream_t s) {
      nccl_group group;
      for (const message& m : messages_) {
        if (m.size == 0) continue;  // both sides know the size
        group.add(m.out ? ncclSend(m.data, m.size, ncclUint8, m.peer, state_->handle, s)
                        : ncclRecv(m.data, m.size, ncclUint8, m.peer, state_->handle, s));
      }
      state_->settle(group.end(), "messages");
    });
  }

 private:
  struct message {
    int peer;
    std::byte* data;
    std::size_t size;
    bool out;
  };

  std::shared_ptr<nccl_state> state_;
  cuda_stream* stream_;
  std::vector<message> messages_;
};

class nccl_communicator {
 public:
  using device_type = cuda_device;
  using batch_type = nccl_batch;

  nccl_communicator(cuda_device& device, const ncclUniqueId& id, int rank, int size,
                    std::shared_ptr<side_channel> channel, host_exchange exchange,
                    rondel::seconds timeout)
      : state_(std::make_shared<nccl_state>(device, std::move(channel), std::move(exchange), rank,
                                            rank, timeout)),
        set_up_(device.make_stream("set-up")) {
    const device_guard guard(device.ordinal());
    ncclConfig_t config = nccl_config();
    state_->size = size;
    state_->settle(ncclCommInitRankConfig(&state_->handle, size, id, rank, &config),
                   "ncclCommInitRankConfig");
  }

  nccl_communicator(nccl_communicator&&) noexcept = default;
  nccl_communicator& operator=(nccl_communicator&&) noexcept = default;

  [[nodiscard]] int rank() const noexcept { return state_->rank; }
  [[nodiscard]] int size() const noexcept { return state_->size; }
  [[nodiscard]] cuda_device& device() noexcept { return *state_->device; }
  [[nodiscard]] rondel::seconds timeout() const noexcept { return state_->timeout; }
  void set_timeout(rondel::seconds t) { state_->timeout = t; }
  void abort(std::string_view reason) noexcept { state_->fail(reason); }

  void begin(cuda_stream& s, const rondel::operation& op) {
    state_->current = op;
    state_->throw_if_dead();
    state_->stream = &s;
  }
  void end() noexcept {
    cuda_stream* const s = std::exchange(state_->stream, nullptr);
    state_->current = {};
    try {
      if (s != nullptr && !state_->dead && !s->capturing()) s->record(state_->last);
    } catch (...) {
      state_->fail("the stream failed");
    }
  }
  [[nodiscard]] nccl_batch batch(cuda_stream& s) { return {state_, s}; }

  void exchange_host(std::span<const std::byte> mine, std::span<std::byte> all) {
    state_->throw_if_dead();
    if (state_->exchange) return state_->exchange(mine, all);
    rondel::device_array<std::byte, cuda_device> in(device(), set_up_, mine.size());
    rondel::device_array<std::byte, cuda_device> out(device(), set_up_, all.size());
    set_up_.upload(in.span(), mine);
    call(set_up_, "exchange_host", [&](cudaStream_t s) {
      return ncclAllGather(in.span().data(), out.span().data(), mine.size(), ncclUint8,
                           state_->handle, s);
    });
    set_up_.download(all, out.span());
    set_up_.synchronize();
  }

  [[nodiscard]] std::optional<nccl_communicator> split(int color, int key) {
    state_->throw_if_dead();
    state_->last.synchronize();  // a split while the parent works deadlocks
    ncclConfig_t config = nccl_config();
    ncclComm_t part = nullptr;
    const device_guard guard(device().ordinal());
    state_->settle(
        ncclCommSplit(state_->handle, color < 0 ? NCCL_SPLIT_NOCOLOR : color, key, &part, &config),
        "ncclCommSplit");
    if (color < 0) return std::nullopt;
    return nccl_communicator(*state_, part);
  }
  [[nodiscard]] nccl_communicator duplicate() { return std::move(*split(0, rank())); }

  template <class T>
  void broadcast(cuda_stream& s, rondel::device_span<T> x, int root) {
    if (x.empty()) return;
    call(s, "broadcast", [&](cudaStream_t stream) {
      return ncclBroadcast(x.data(), x.data(), x.size(), nccl_type<T>, root, state_->handle,
                           stream);
    });
  }
  template <class T>
  void all_gather(cuda_stream& s, rondel::device_span<const T> in, rondel::device_span<T> out,
                  const rondel::even_blocks&) {
    if (in.empty()) return;
    call(s, "all_gather", [&](cudaStream_t stream) {
      return ncclAllGather(in.data(), out.data(), in.size(), nccl_type<T>, state_->handle, stream);
    });
  }
  template <class T, nccl_reduction Op>
  void reduce_scatter(cuda_stream& s, rondel::device_span<const T> in, rondel::device_span<T> out,
                      const rondel::even_blocks&, const Op&) {
    if (out.empty()) return;
    call(s, "reduce_scatter", [&](cudaStream_t stream) {
      return ncclReduceScatter(in.data(), out.data(), out.size(), nccl_type<T>, nccl_op<Op>,
                               state_->handle, stream);
    });
  }
  template <class T, nccl_reduction Op>
  void all_reduce(cuda_stream& s, rondel::device_span<const T> in, rondel::device_span<T> out,
                  const Op&) {
    if (in.empty()) return;
    call(s, "all_reduce", [&](cudaStream_t stream) {
      return ncclAllReduce(in.data(), out.data(), in.size(), nccl_type<T>, nccl_op<Op>,
                           state_->handle, stream);
    });
  }

 private:
  nccl_communicator(const nccl_state& parent, ncclComm_t part)
      : state_(std::make_shared<nccl_state>(*parent.device, parent.channel, nullptr, 0,
                                            parent.world_rank, parent.timeout)),
        set_up_(parent.device->make_stream("set-up")) {
    state_->handle = part;
    state_->settle(ncclSuccess, "ncclCommSplit");
    state_->settle(ncclCommUserRank(part, &state_->rank), "ncclCommUserRank");
    state_->settle(ncclCommCount(part, &state_->size), "ncclCommCount");
  }

  template <class F>
  void call(cuda_stream& s, const char* name, const F& f) {
    s.watch(state_);
    s.launch({.name = name}, [&](cudaStream_t stream) { state_->settle(f(stream), name); });
  }

  std::shared_ptr<nccl_state> state_;
  cuda_stream set_up_;
};

}  // namespace sketch

using sketch::cuda_device;
using sketch::cuda_stream;
using sketch::nccl_communicator;

struct user_sum {
  __host__ __device__ float operator()(float a, float b) const { return a + b; }
};

static_assert(rondel::message_batch<sketch::nccl_batch>);
static_assert(rondel::communicator<nccl_communicator>);
static_assert(rondel::communicator<rondel::send_recv_only<nccl_communicator>>);

// What NCCL has.
template <class... T>
inline constexpr bool has_all_types =
    (... && (rondel::has_all_reduce<nccl_communicator, T, rondel::sum> &&
             rondel::has_all_reduce<nccl_communicator, T, rondel::max> &&
             rondel::has_all_reduce<nccl_communicator, T, rondel::min> &&
             rondel::has_reduce_scatter<nccl_communicator, T, rondel::even_blocks, rondel::sum> &&
             rondel::has_all_gather<nccl_communicator, T, rondel::even_blocks> &&
             rondel::has_broadcast<nccl_communicator, T>));
static_assert(has_all_types<double, float, rondel::bfloat16, rondel::float16, std::int64_t,
                            std::int32_t, std::uint8_t>);

// What it lacks, or means otherwise.
template <class Op>
inline constexpr bool reduces =
    rondel::has_all_reduce<nccl_communicator, float, Op> ||
    rondel::has_reduce_scatter<nccl_communicator, float, rondel::even_blocks, Op>;
static_assert(!reduces<rondel::mean> && !reduces<user_sum>);
static_assert(!reduces<rondel::in_rank_order<rondel::sum>>);
template <class Blocks>
inline constexpr bool takes_blocks =
    rondel::has_all_gather<nccl_communicator, float, Blocks> ||
    rondel::has_reduce_scatter<nccl_communicator, float, Blocks, rondel::sum>;
static_assert(!takes_blocks<rondel::balanced_blocks> && !takes_blocks<rondel::uneven_blocks>);
static_assert(!rondel::has_barrier<nccl_communicator>);
static_assert(!rondel::has_all_to_all<nccl_communicator, float, rondel::uneven_blocks>);

template <class T>
using array = rondel::device_array<T, cuda_device>;

// Every generic algorithm over this communicator, and every fast path.
template <rondel::communicator C>
void use_collectives(C& comm, cuda_stream& compute, cuda_stream& link) {
  const auto ranks = static_cast<std::size_t>(comm.size());
  array<float> x(comm.device(), compute, 64 * ranks);
  array<float> y(comm.device(), compute, 64 * ranks);
  array<float> block(comm.device(), compute, 64);
  array<rondel::bfloat16> half(comm.device(), compute, 64);

  rondel::all_reduce(comm, compute, x.span());
  rondel::all_reduce(comm, compute, x.span(), y.span(), rondel::mean{});
  rondel::all_reduce(comm, compute, x.span(), rondel::in_rank_order(rondel::sum{}));
  rondel::all_reduce(comm, compute, x.span(), user_sum{});
  rondel::all_reduce(comm, compute, half.span(), rondel::mean{});
  rondel::reduce_scatter(comm, compute, x.span(), block.span());
  rondel::reduce_scatter(comm, compute, x.span(), block.span(),
                         rondel::in_rank_order(rondel::sum{}));
  rondel::all_gather(comm, compute, block.span(), x.span());
  rondel::all_gather_v(comm, compute, block.span(), x.span(),
                       rondel::uneven_blocks(std::vector<std::size_t>(ranks, 64)));
  rondel::all_to_all(comm, compute, x.span(), y.span());
  rondel::broadcast(comm, compute, x.span(), 0);
  rondel::barrier(comm, compute);
  rondel::ring_pass(comm, compute, link, std::array{block.span(), y.span().first(64)},
                    [&](rondel::device_span<const float> arrived, int, int) {
                      rondel::kernels<cuda_device>::reduce<float>(
                          compute, x.span().first(64), arrived, arrived, rondel::sum{}, 2, true);
                    });
}

void use_nccl(const ncclUniqueId& id, int rank, int size,
              std::shared_ptr<sketch::side_channel> channel) {
  cuda_device device(rank, rank);
  cuda_stream compute = device.make_stream("compute");
  cuda_stream link = device.make_stream("link");
  nccl_communicator world(device, id, rank, size, std::move(channel), nullptr, {30});
  use_collectives(world, compute, link);
  rondel::send_recv_only generic(world.duplicate());
  use_collectives(generic, compute, link);
  if (auto half = world.split(rank % 2, rank)) use_collectives(*half, compute, link);

  // Captured once, replayed: collectives are enqueued like any kernel.
  array<float> x(device, compute, 1024);
  const sketch::cuda_graph step =
      compute.capture([&](cuda_stream& s) { rondel::all_reduce(world, s, x.span()); });
  compute.launch({.name = "step"}, [&](cudaStream_t s) { step.enqueue(s); });
  compute.synchronize();
}
