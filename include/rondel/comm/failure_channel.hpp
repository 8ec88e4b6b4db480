#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace rondel {

/// The first failure of a world.
struct rank_failure {
  /// Rank of the world.
  int rank = -1;
  /// Its words.
  std::string reason;
};

/// How ranks tell each other that one has failed, beside a transport that does not: NCCL leaves the
/// peers of a rank that gave up waiting. One object per process; its ranks may use it at the same
/// time.
class failure_channel {
 public:
  failure_channel() = default;
  failure_channel(const failure_channel&) = delete;
  failure_channel& operator=(const failure_channel&) = delete;
  virtual ~failure_channel() = default;

  /// Tells all ranks that `rank` has failed. The first failure is kept. Never waits for others.
  virtual void announce(int rank, std::string_view reason) noexcept = 0;
  /// The first failure that is known here, if there is one. Never waits; asked at every wait.
  [[nodiscard]] virtual std::optional<rank_failure> announced() = 0;
};

}  // namespace rondel
