#pragma once
#include <cstdint>

namespace rondel {

/// What one launch costs: the currency between a kernel, the timeline and a simulator.
///
/// Every launch on a stream carries one. A real engine shows it beside the measured time
/// (achieved against the machine's roof); a simulated one derives the time from it.
struct work {
  /// What the launch is called in timelines. Points to storage that outlives the program's
  /// recorders, as a string literal does.
  const char* name = "kernel";
  /// Floating-point operations; a multiply-add counts as two.
  double flops = 0;
  /// Bytes that the kernel reads from device memory.
  std::uint64_t bytes_read = 0;
  /// Bytes that the kernel writes to device memory.
  std::uint64_t bytes_written = 0;
};

/// Sums of the work of several launches.
struct work_total {
  /// Number of launches.
  std::uint64_t launches = 0;
  /// Floating-point operations of all launches.
  double flops = 0;
  /// Bytes read by all launches.
  std::uint64_t bytes_read = 0;
  /// Bytes written by all launches.
  std::uint64_t bytes_written = 0;

  /// Adds one launch.
  constexpr void add(const work& w) noexcept {
    ++launches;
    flops += w.flops;
    bytes_read += w.bytes_read;
    bytes_written += w.bytes_written;
  }

  friend constexpr bool operator==(const work_total&, const work_total&) = default;
};

}  // namespace rondel
