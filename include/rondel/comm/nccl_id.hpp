#pragma once
#include <rondel/core/error.hpp>

#include <concepts>
#include <cstddef>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <nccl.h>

namespace rondel {

/// What the ranks of a new NCCL world find each other by. Made once, by `make_nccl_id` or
/// `share_nccl_id`, for one world; or the same on all ranks, by `nccl_id_at`. It can be copied to
/// the other threads of a process.
class nccl_id {
 public:
  /// An id of the caller's own, from `ncclGetUniqueId`.
  explicit nccl_id(const ncclUniqueId& bytes) : bytes_(bytes) {}
  /// Made by `nccl_id_at`.
  nccl_id(const ncclUniqueId& bytes, std::string address)
      : bytes_(bytes), address_(std::move(address)) {}

  /// NCCL's own form.
  [[nodiscard]] const ncclUniqueId& native() const noexcept { return bytes_; }
  /// Where rank 0 listens, `"host:port"`; empty where NCCL has chosen.
  [[nodiscard]] const std::string& address() const noexcept { return address_; }

 private:
  ncclUniqueId bytes_;
  std::string address_;
};

namespace detail {

// NCCL_COMM_ID for a scope. The environment is the process's, so one thread at a time.
class nccl_comm_id {
 public:
  explicit nccl_comm_id(const std::string& address) {
    if (address.empty()) return;
    lock_ = std::unique_lock(mutex());
    if (const char* const before = std::getenv(name)) before_ = before;
    (void)setenv(name, address.c_str(), 1);
  }
  nccl_comm_id(const nccl_comm_id&) = delete;
  nccl_comm_id& operator=(const nccl_comm_id&) = delete;
  ~nccl_comm_id() {
    if (!lock_.owns_lock()) return;
    if (before_) {
      (void)setenv(name, before_->c_str(), 1);
    } else {
      (void)unsetenv(name);
    }
  }

 private:
  static constexpr const char* name = "NCCL_COMM_ID";
  [[nodiscard]] static std::mutex& mutex() {
    static std::mutex the_mutex;
    return the_mutex;
  }

  std::unique_lock<std::mutex> lock_;
  std::optional<std::string> before_;
};

[[nodiscard]] inline ncclUniqueId unique_id() {
  ncclUniqueId id;
  const ncclResult_t result = ncclGetUniqueId(&id);
  if (result != ncclSuccess) {
    throw error(
        concat("ncclGetUniqueId: ", ncclGetErrorString(result), ": ", ncclGetLastError(nullptr)));
  }
  return id;
}

}  // namespace detail

/// A new id. For ranks that are threads of one process: one of them makes it and all use it. The
/// process must live until all ranks have joined. Throws `error`.
[[nodiscard]] inline nccl_id make_nccl_id() { return nccl_id(detail::unique_id()); }

/// A new id of rank 0 on every rank, by the caller's own means: `broadcast(bytes)`, called once on
/// every rank with a `std::span<std::byte>`, leaves rank 0's bytes on all. With MPI:
/// `MPI_Bcast(bytes.data(), int(bytes.size()), MPI_BYTE, 0, comm)`. Throws `error`.
template <std::invocable<std::span<std::byte>> Broadcast>
[[nodiscard]] nccl_id share_nccl_id(int rank, Broadcast&& broadcast) {
  ncclUniqueId id = rank == 0 ? detail::unique_id() : ncclUniqueId{};
  std::forward<Broadcast>(broadcast)(std::as_writable_bytes(std::span(&id, 1)));
  return nccl_id(id);
}

/// The id of the world whose rank 0 listens at `port` of `host`, a name or an address of its
/// machine; the same on all ranks without any message. NCCL itself connects. The port must be free
/// on that machine, and a second world needs another one while the first one starts. Sets
/// NCCL_COMM_ID for the duration of the call, and when the ranks join, so no other thread may use
/// the environment meanwhile. Throws `invalid_argument` for a port that is none, and `error` if
/// NCCL cannot find the host or an interface that reaches it.
[[nodiscard]] inline nccl_id nccl_id_at(std::string_view host, int port) {
  if (host.empty()) throw invalid_argument("nccl_id_at: the host is empty");
  if (port < 1 || port > 65535) {
    throw invalid_argument(concat("nccl_id_at: port ", port, " is not between 1 and 65535"));
  }
  const bool v6 = host.find(':') != std::string_view::npos && host.front() != '[';
  std::string address = concat(v6 ? "[" : "", host, v6 ? "]:" : ":", port);
  const detail::nccl_comm_id scope(address);
  return {detail::unique_id(), std::move(address)};
}

/// `nccl_id_at` of the environment: MASTER_ADDR and MASTER_PORT + `offset`, as torchrun and others
/// set them. Where the launcher itself listens at MASTER_PORT, `offset` leads past it. Throws
/// `invalid_argument` if one is missing or the port is no number.
[[nodiscard]] inline nccl_id nccl_id_of_environment(int offset = 0) {
  const char* const host = std::getenv("MASTER_ADDR");
  const char* const port = std::getenv("MASTER_PORT");
  if (host == nullptr || port == nullptr) {
    throw invalid_argument(concat("the environment has no ",
                                  host == nullptr ? "MASTER_ADDR" : "MASTER_PORT",
                                  ", which the ranks would find each other by"));
  }
  int number = 0;
  const std::string_view digits(port);
  for (const char c : digits) {
    if (c < '0' || c > '9' || number > 65535) {
      number = -1;
      break;
    }
    number = number * 10 + (c - '0');
  }
  if (digits.empty() || number < 1 || number > 65535) {
    throw invalid_argument(
        concat("MASTER_PORT is '", digits, "', a port from 1 to 65535 expected"));
  }
  return nccl_id_at(host, number + offset);
}

}  // namespace rondel
