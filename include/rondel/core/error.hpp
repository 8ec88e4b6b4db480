#pragma once
#include <rondel/core/source_location.hpp>
#include <rondel/core/text.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace rondel {

/// Base of every exception that rondel throws.
///
/// `what()` is a complete sentence that names the thing, its value and what was expected.
class error : public std::runtime_error {
 public:
  /// An error with the sentence `message`, thrown on behalf of `where`.
  explicit error(const std::string& message, source_location where = source_location::current())
      : std::runtime_error(message), where_(where) {}

  /// The place that found the fault: the caller's where an entry point passed its own on,
  /// else the line of the library.
  [[nodiscard]] const source_location& where() const noexcept { return where_; }

 private:
  source_location where_;
};

// The classes below repeat the constructor, because nvcc 13.0 dies of an inherited one that has
// a source_location.

/// An argument breaks a documented precondition. Nothing was done.
class invalid_argument : public error {
 public:
  /// As `error`.
  explicit invalid_argument(const std::string& message,
                            source_location where = source_location::current())
      : error(message, where) {}
};

/// A file, stream or system call failed.
class io_error : public error {
 public:
  /// As `error`.
  explicit io_error(const std::string& message, source_location where = source_location::current())
      : error(message, where) {}
};

/// What was read breaks the rules of its format, or is damaged. Nothing of it is used.
class invalid_data : public error {
 public:
  /// As `error`.
  explicit invalid_data(const std::string& message,
                        source_location where = source_location::current())
      : error(message, where) {}
};

/// A device has no room for an allocation. Nothing was allocated; what lives stays valid.
class out_of_memory : public error {
 public:
  /// Sizes in bytes; `rank` is the owner of the device, or -1 where it has none.
  out_of_memory(int rank, std::uint64_t requested, std::uint64_t live, std::uint64_t limit,
                source_location where = source_location::current())
      : error(concat("out of device memory", rank < 0 ? "" : " on rank ",
                     rank < 0 ? std::string() : std::to_string(rank), ": requested ", requested,
                     " B (", format_bytes(requested), ") while ", live, " B (", format_bytes(live),
                     ") of at most ", limit, " B (", format_bytes(limit), ") are live"),
              where),
        rank_(rank),
        requested_(requested),
        live_(live),
        limit_(limit) {}

  /// Rank that owns the device, -1 where it has none.
  [[nodiscard]] int rank() const noexcept { return rank_; }
  /// Bytes asked for.
  [[nodiscard]] std::uint64_t requested() const noexcept { return requested_; }
  /// Bytes live at the time.
  [[nodiscard]] std::uint64_t live() const noexcept { return live_; }
  /// Bytes the device may hold.
  [[nodiscard]] std::uint64_t limit() const noexcept { return limit_; }

 private:
  int rank_;
  std::uint64_t requested_, live_, limit_;
};

/// A call of a device's runtime failed, or work that was queued there did. `what()` names the call,
/// the device and the runtime's own words.
class device_error : public error {
 public:
  /// `code` is the runtime's own number of the failure.
  device_error(const std::string& message, int code,
               source_location where = source_location::current())
      : error(message, where), code_(code) {}

  /// The runtime's number of the failure: a `cudaError_t` on CUDA.
  [[nodiscard]] int code() const noexcept { return code_; }

 private:
  int code_;
};

/// Base of the errors of communication between ranks.
///
/// After one of these the communicator, and every other one split from the same world, is of
/// no more use: each further operation throws. The process itself goes on and may build a new
/// world.
class communication_error : public error {
 public:
  /// `rank` is the rank that reports.
  communication_error(const std::string& message, int rank,
                      source_location where = source_location::current())
      : error(message, where), rank_(rank) {}

  /// The rank that reports, counted in the world.
  [[nodiscard]] int rank() const noexcept { return rank_; }

 private:
  int rank_;
};

/// Another rank failed or left. `what()` holds that rank's own words.
class peer_failed : public communication_error {
 public:
  /// `failed` is the first rank of the world that failed.
  peer_failed(const std::string& message, int rank, int failed,
              source_location where = source_location::current())
      : communication_error(message, rank, where), failed_(failed) {}

  /// The first rank that failed, counted in the world.
  [[nodiscard]] int failed_rank() const noexcept { return failed_; }

 private:
  int failed_;
};

/// A deadline passed. `what()` names the ranks that are missing and what each rank waits in.
class timed_out : public communication_error {
 public:
  /// As `communication_error`.
  timed_out(const std::string& message, int rank,
            source_location where = source_location::current())
      : communication_error(message, rank, where) {}
};

/// Ranks called different operations, or the same with other sizes, types or roots.
/// Every rank of a collective gets one, with both sides in `what()`. Of a message, and of uneven
/// blocks of an all_to_all, the receiver gets it and the other ranks may get `peer_failed`.
class mismatched_operation : public communication_error {
 public:
  /// As `communication_error`.
  mismatched_operation(const std::string& message, int rank,
                       source_location where = source_location::current())
      : communication_error(message, rank, where) {}
};

}  // namespace rondel
