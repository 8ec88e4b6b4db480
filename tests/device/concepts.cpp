#include <rondel/comm/concepts.hpp>
#include <rondel/device/array.hpp>
#include <rondel/device/concepts.hpp>

#include "archetypes.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace {

using rondel::device_span;

// Deriving alone breaks nothing, so that what is refused below is refused for its one member.
struct whole_event : archetype::event {};
struct whole_buffer : archetype::buffer {};
struct whole_stream : archetype::stream {};
struct whole_device : archetype::device {};
struct whole_batch : archetype::message_batch {};
struct whole_communicator : archetype::basic_communicator<whole_communicator> {};
struct whole_blocks : archetype::block_sizes {};
static_assert(rondel::event<archetype::event> && rondel::event<whole_event>);
static_assert(rondel::buffer<archetype::buffer> && rondel::buffer<whole_buffer>);
static_assert(rondel::stream<archetype::stream> && rondel::stream<whole_stream>);
static_assert(rondel::device<archetype::device> && rondel::device<whole_device>);
static_assert(rondel::message_batch<archetype::message_batch> &&
              rondel::message_batch<whole_batch>);
static_assert(rondel::communicator<archetype::communicator> &&
              rondel::communicator<whole_communicator>);
static_assert(rondel::block_sizes<archetype::block_sizes> && rondel::block_sizes<whole_blocks>);

struct event_no_ready : archetype::event {
  bool ready() const = delete;
};
struct event_no_synchronize : archetype::event {
  void synchronize() const = delete;
};
struct event_ready_counts : archetype::event {
  int ready() const;
};
struct event_ready_changes : archetype::event {
  bool ready();
};
struct event_stays : archetype::event {
  event_stays(event_stays&&) = delete;
};
static_assert(!rondel::event<event_no_ready> && !rondel::event<event_no_synchronize>);
static_assert(!rondel::event<event_ready_counts> && !rondel::event<event_ready_changes>);
static_assert(!rondel::event<event_stays>);

struct buffer_no_data : archetype::buffer {
  void* data() const noexcept = delete;
};
struct buffer_no_size : archetype::buffer {
  std::size_t size() const noexcept = delete;
};
struct buffer_typed : archetype::buffer {
  float* data() const noexcept;
};
struct buffer_throws : archetype::buffer {
  std::size_t size() const;
};
struct buffer_stays : archetype::buffer {
  buffer_stays(buffer_stays&&) = delete;
};
static_assert(!rondel::buffer<buffer_no_data> && !rondel::buffer<buffer_no_size>);
static_assert(!rondel::buffer<buffer_typed> && !rondel::buffer<buffer_throws>);
static_assert(!rondel::buffer<buffer_stays>);

struct stream_no_launch : archetype::stream {
  template <class F>
  void launch(const rondel::work&, F&&) = delete;
};
struct stream_launch_returns : archetype::stream {
  template <class F>
  int launch(const rondel::work&, F&&) {
    return 0;
  }
};
struct stream_no_copy : archetype::stream {
  void copy(device_span<std::byte>, device_span<const std::byte>) = delete;
};
struct stream_no_upload : archetype::stream {
  void upload(device_span<std::byte>, std::span<const std::byte>) = delete;
};
struct stream_upload_writes : archetype::stream {
  void upload(device_span<std::byte>, std::span<std::byte>);
};
struct stream_no_download : archetype::stream {
  void download(std::span<std::byte>, device_span<const std::byte>) = delete;
};
struct stream_no_record : archetype::stream {
  void record(archetype::event&) = delete;
};
struct stream_no_wait : archetype::stream {
  void wait(const archetype::event&) = delete;
};
struct stream_wait_changes : archetype::stream {
  void wait(archetype::event&);
};
struct stream_no_idle : archetype::stream {
  bool idle() const = delete;
};
struct stream_no_synchronize : archetype::stream {
  void synchronize() = delete;
};
struct stream_bad_event : archetype::stream {
  using event_type = event_no_ready;
};
static_assert(!rondel::stream<stream_no_launch> && !rondel::stream<stream_launch_returns>);
static_assert(!rondel::stream<stream_no_copy> && !rondel::stream<stream_no_upload>);
static_assert(!rondel::stream<stream_upload_writes> && !rondel::stream<stream_no_download>);
static_assert(!rondel::stream<stream_no_record> && !rondel::stream<stream_no_wait>);
static_assert(!rondel::stream<stream_wait_changes> && !rondel::stream<stream_no_idle>);
static_assert(!rondel::stream<stream_no_synchronize> && !rondel::stream<stream_bad_event>);

struct device_no_stream : archetype::device {
  archetype::stream make_stream(const char*) = delete;
};
struct device_no_event : archetype::device {
  archetype::event make_event() = delete;
};
struct device_no_allocate : archetype::device {
  archetype::buffer allocate(archetype::stream&, std::size_t) = delete;
};
struct device_not_stream_ordered : archetype::device {
  archetype::buffer allocate(std::size_t);
};
struct device_raw_memory : archetype::device {
  void* allocate(archetype::stream&, std::size_t);
};
struct device_no_memory : archetype::device {
  rondel::memory_usage memory() const = delete;
};
struct device_rank_throws : archetype::device {
  int rank() const;
};
struct device_bad_stream : archetype::device {
  using stream_type = stream_no_copy;
  stream_no_copy make_stream(const char*);
};
struct device_other_event : archetype::device {
  using event_type = whole_event;
  whole_event make_event();
};
static_assert(!rondel::device<device_no_stream> && !rondel::device<device_no_event>);
static_assert(!rondel::device<device_no_allocate> && !rondel::device<device_not_stream_ordered>);
static_assert(!rondel::device<device_raw_memory> && !rondel::device<device_no_memory>);
static_assert(!rondel::device<device_rank_throws> && !rondel::device<device_bad_stream>);
static_assert(!rondel::device<device_other_event>);

struct batch_no_send : archetype::message_batch {
  void send(int, device_span<const std::byte>) = delete;
};
struct batch_no_recv : archetype::message_batch {
  void recv(int, device_span<std::byte>) = delete;
};
struct batch_no_submit : archetype::message_batch {
  void submit() = delete;
};
struct batch_submit_returns : archetype::message_batch {
  int submit();
};
static_assert(!rondel::message_batch<batch_no_send> && !rondel::message_batch<batch_no_recv>);
static_assert(!rondel::message_batch<batch_no_submit>);
static_assert(!rondel::message_batch<batch_submit_returns>);

template <class Self>
using base = archetype::basic_communicator<Self>;

struct no_rank : base<no_rank> {
  int rank() const noexcept = delete;
};
struct wide_rank : base<wide_rank> {
  long rank() const noexcept;
};
struct no_size : base<no_size> {
  int size() const noexcept = delete;
};
struct no_device : base<no_device> {
  archetype::device& device() noexcept = delete;
};
struct device_by_pointer : base<device_by_pointer> {
  archetype::device* device() noexcept;
};
struct no_begin : base<no_begin> {
  void begin(archetype::stream&, const rondel::operation&) = delete;
};
struct end_throws : base<end_throws> {
  void end();
};
struct no_batch : base<no_batch> {
  archetype::message_batch batch(archetype::stream&) = delete;
};
struct bad_batch : base<bad_batch> {
  using batch_type = batch_no_recv;
  batch_no_recv batch(archetype::stream&);
};
struct no_exchange : base<no_exchange> {
  void exchange_host(std::span<const std::byte>, std::span<std::byte>) = delete;
};
struct no_split : base<no_split> {
  std::optional<no_split> split(int, int) = delete;
};
struct split_always : base<split_always> {
  split_always split(int, int);
};
struct no_duplicate : base<no_duplicate> {
  no_duplicate duplicate() = delete;
};
struct no_timeout : base<no_timeout> {
  rondel::seconds timeout() const noexcept = delete;
};
struct plain_timeout : base<plain_timeout> {
  double timeout() const noexcept;
};
struct no_set_timeout : base<no_set_timeout> {
  void set_timeout(rondel::seconds) = delete;
};
struct no_abort : base<no_abort> {
  void abort(std::string_view) noexcept = delete;
};
struct abort_throws : base<abort_throws> {
  void abort(std::string_view);
};
struct copyable : base<copyable> {
  copyable() = default;
  copyable(const copyable&) {}
  copyable& operator=(const copyable&) { return *this; }
};
static_assert(!rondel::communicator<no_rank> && !rondel::communicator<wide_rank>);
static_assert(!rondel::communicator<no_size> && !rondel::communicator<no_device>);
static_assert(!rondel::communicator<device_by_pointer> && !rondel::communicator<no_begin>);
static_assert(!rondel::communicator<end_throws> && !rondel::communicator<no_batch>);
static_assert(!rondel::communicator<bad_batch> && !rondel::communicator<no_exchange>);
static_assert(!rondel::communicator<no_split> && !rondel::communicator<split_always>);
static_assert(!rondel::communicator<no_duplicate> && !rondel::communicator<no_timeout>);
static_assert(!rondel::communicator<plain_timeout> && !rondel::communicator<no_set_timeout>);
static_assert(!rondel::communicator<no_abort> && !rondel::communicator<abort_throws>);
static_assert(!rondel::communicator<copyable>);

struct blocks_no_layout : archetype::block_sizes {
  std::uint64_t layout() const noexcept = delete;
};
struct blocks_no_total : archetype::block_sizes {
  std::size_t total() const noexcept = delete;
};
struct blocks_throw : archetype::block_sizes {
  std::size_t offset(int) const;
};
struct blocks_narrow : archetype::block_sizes {
  int size(int) const noexcept;
};
struct blocks_once : archetype::block_sizes {
  blocks_once(blocks_once&&) = default;
};
static_assert(!rondel::block_sizes<blocks_no_layout> && !rondel::block_sizes<blocks_no_total>);
static_assert(!rondel::block_sizes<blocks_throw> && !rondel::block_sizes<blocks_narrow>);
static_assert(!rondel::block_sizes<blocks_once>);

template <class T>
inline constexpr bool is_anything =
    rondel::event<T> || rondel::buffer<T> || rondel::stream<T> || rondel::device<T> ||
    rondel::message_batch<T> || rondel::communicator<T> || rondel::block_sizes<T>;
static_assert(!is_anything<int> && !is_anything<void> && !is_anything<int*>);
static_assert(!is_anything<std::string> && !is_anything<std::vector<std::size_t>>);
static_assert(!is_anything<archetype::move_only>);

// The base promises none of the capabilities.
using C = archetype::communicator;
static_assert(!rondel::has_barrier<C> && !rondel::has_broadcast<C, float>);
static_assert(!rondel::has_all_reduce<C, float, rondel::sum>);
static_assert(!rondel::has_all_gather<C, float, rondel::even_blocks>);
static_assert(!rondel::has_reduce_scatter<C, float, rondel::even_blocks, rondel::sum>);
static_assert(!rondel::has_all_to_all<C, float, rondel::even_blocks>);
static_assert(!rondel::has_gather<C, float, rondel::even_blocks>);
static_assert(!rondel::has_scatter<C, float, rondel::even_blocks>);

}  // namespace

TEST_CASE("concepts accept their archetypes and refuse what lacks one member") {
  // The compiler has done it above.
  CHECK(rondel::communicator<archetype::communicator>);
}
