#pragma once
// The least that satisfies each concept; the broken models in the tests derive from them and
// differ by one member.
#include <rondel/comm/blocks.hpp>
#include <rondel/comm/concepts.hpp>
#include <rondel/device/concepts.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace archetype {

struct move_only {
  move_only() = default;
  move_only(move_only&&) = default;
  move_only& operator=(move_only&&) = default;
};

struct event : move_only {
  [[nodiscard]] bool ready() const;
  void synchronize() const;
};

struct buffer : move_only {
  [[nodiscard]] void* data() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept;
};

struct stream : move_only {
  using event_type = event;
  template <class F>
  void launch(const rondel::work&, F&&) {}
  void copy(rondel::device_span<std::byte>, rondel::device_span<const std::byte>);
  void upload(rondel::device_span<std::byte>, std::span<const std::byte>);
  void download(std::span<std::byte>, rondel::device_span<const std::byte>);
  void record(event&);
  void wait(const event&);
  [[nodiscard]] bool idle() const;
  void synchronize();
};

struct device {
  using stream_type = stream;
  using event_type = event;
  using buffer_type = buffer;
  device() = default;
  device(const device&) = delete;  // a device need not even move
  device& operator=(const device&) = delete;
  [[nodiscard]] stream make_stream(const char*);
  [[nodiscard]] event make_event();
  [[nodiscard]] buffer allocate(stream&, std::size_t);
  [[nodiscard]] rondel::memory_usage memory() const;
  [[nodiscard]] int rank() const noexcept;
};

struct message_batch : move_only {
  void send(int, rondel::device_span<const std::byte>);
  void recv(int, rondel::device_span<std::byte>);
  void submit();
};

template <class Self>
struct basic_communicator : move_only {
  using device_type = archetype::device;
  using batch_type = message_batch;
  [[nodiscard]] int rank() const noexcept;
  [[nodiscard]] int size() const noexcept;
  [[nodiscard]] archetype::device& device() noexcept;
  void begin(stream&, const rondel::operation&);
  void end() noexcept;
  [[nodiscard]] message_batch batch(stream&);
  void exchange_host(std::span<const std::byte>, std::span<std::byte>);
  [[nodiscard]] std::optional<Self> split(int, int);
  [[nodiscard]] Self duplicate();
  [[nodiscard]] rondel::seconds timeout() const noexcept;
  void set_timeout(rondel::seconds);
  void abort(std::string_view) noexcept;
};
struct communicator : basic_communicator<communicator> {};

struct block_sizes {
  [[nodiscard]] int ranks() const noexcept;
  [[nodiscard]] std::size_t size(int) const noexcept;
  [[nodiscard]] std::size_t offset(int) const noexcept;
  [[nodiscard]] std::size_t total() const noexcept;
  [[nodiscard]] std::uint64_t layout() const noexcept;
};

}  // namespace archetype
