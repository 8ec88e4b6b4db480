#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace train_gpt {

/// The user asked for something that cannot be done; `what()` is one line for them.
class usage_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Bytes as tokens.
using byte_text = std::vector<std::uint8_t>;

/// What `load_text` found.
struct loaded_text {
  /// All files, one after the other.
  byte_text bytes;
  /// Number of files.
  std::size_t files = 0;
};

/// Reads files, and all regular files below folders, except hidden ones and those that hold a
/// zero byte. Paths are taken in the given order, files of a folder in the order of their paths.
/// Throws `usage_error` if a path does not exist or cannot be read, a named file is empty, or
/// there are more than `limit` bytes in all.
[[nodiscard]] loaded_text load_text(const std::vector<std::string>& paths,
                                    std::size_t limit = std::size_t{256} << 20);

/// A text in two: what is learnt, and the tail that is not.
struct text_split {
  /// The first part.
  std::span<const std::uint8_t> train;
  /// The tail.
  std::span<const std::uint8_t> held_out;
};

/// Splits off the last `share` of `text`, rounded down to whole bytes. Throws `usage_error` if
/// one of the parts is too short for a window of `context` + 1 bytes.
[[nodiscard]] text_split split_text(std::span<const std::uint8_t> text, double share,
                                    std::size_t context);

/// Starts of windows of `context` + 1 bytes in a text of `size` bytes, of which only the last byte
/// of one and the first of the next overlap, so that no byte is predicted twice; at most
/// `at_most`, spread evenly.
[[nodiscard]] std::vector<std::size_t> evaluation_windows(std::size_t size, std::size_t context,
                                                          std::size_t at_most);

/// Start of the window that sequence `index` of step `step` reads from a text of `size` bytes.
/// Uniform over all windows of `context` + 1 bytes; depends on the arguments alone.
[[nodiscard]] std::size_t training_window(std::uint64_t seed, std::size_t step, std::size_t index,
                                          std::size_t size, std::size_t context);

/// Copies the `context` + 1 bytes from each of `starts` as tokens, one window after the other.
[[nodiscard]] std::vector<std::int32_t> window_tokens(std::span<const std::uint8_t> text,
                                                      std::span<const std::size_t> starts,
                                                      std::size_t context);

/// The baseline: each byte is predicted from the one before it, by counting.
class bigram_model {
 public:
  /// Counts the pairs of `text`; `smoothing` is added to each of the 65536 counts.
  explicit bigram_model(std::span<const std::uint8_t> text, double smoothing = 0.1);

  /// Probability that `next` follows `byte`.
  [[nodiscard]] double probability(std::uint8_t byte, std::uint8_t next) const;

  /// Mean of `-log probability` over the predictions of the windows at `starts`, in nats a byte.
  [[nodiscard]] double loss(std::span<const std::uint8_t> text, std::span<const std::size_t> starts,
                            std::size_t context) const;

 private:
  double smoothing_;
  std::vector<double> pairs_;   // [256, 256]
  std::vector<double> totals_;  // [256]
};

/// `text` for a terminal: line breaks stay, tabs become spaces, what is not printable becomes
/// `\xNN`.
[[nodiscard]] std::string printable(std::span<const std::uint8_t> text);

/// `text` for a message of one line: control characters become `\xNN`.
[[nodiscard]] std::string one_line(std::string_view text);

}  // namespace train_gpt
