#include "text.hpp"

#include <rondel/core/error.hpp>
#include <rondel/core/file.hpp>
#include <rondel/core/text.hpp>

#include "host_kernels.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <system_error>

namespace train_gpt {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t largest_file = std::size_t{256} << 20;

[[nodiscard]] std::string read(const std::string& path) {
  try {
    return rondel::read_text_file(path, largest_file);
  } catch (const rondel::io_error& e) {
    throw usage_error(rondel::concat("--text: ", e.what()));
  }
}

[[nodiscard]] bool hidden(const fs::path& path) {
  return path.filename().string().starts_with(".");
}

[[nodiscard]] std::vector<std::string> files_below(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code error;
  fs::recursive_directory_iterator next(folder, error);
  for (; !error && next != fs::recursive_directory_iterator(); next.increment(error)) {
    if (hidden(next->path())) {
      next.disable_recursion_pending();
    } else if (next->is_regular_file()) {
      out.push_back(next->path().generic_string());
    }
  }
  if (error) {
    throw usage_error(
        rondel::concat("--text: cannot list the folder '", folder, "': ", error.message()));
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

loaded_text load_text(const std::vector<std::string>& paths) {
  loaded_text out;
  const auto append = [&out](const std::string& text) {
    out.bytes.insert(out.bytes.end(), text.begin(), text.end());
    ++out.files;
  };
  for (const std::string& path : paths) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (!fs::exists(status)) {
      throw usage_error(rondel::concat("--text: there is no file or folder '", path, "'"));
    }
    if (fs::is_directory(status)) {
      for (const std::string& file : files_below(path)) {
        const std::string text = read(file);
        if (!text.empty() && text.find('\0') == std::string::npos) append(text);
      }
    } else {
      const std::string text = read(path);
      if (text.empty()) throw usage_error(rondel::concat("--text: the file '", path, "' is empty"));
      append(text);
    }
  }
  return out;
}

text_split split_text(std::span<const std::uint8_t> text, double share, std::size_t context) {
  const auto tail = static_cast<std::size_t>(static_cast<double>(text.size()) * share);
  const text_split out{text.first(text.size() - tail), text.last(tail)};
  const auto check = [&](std::size_t size, const char* name) {
    if (size < context + 1) {
      throw usage_error(rondel::concat("--text: the text has ", text.size(), " bytes, of which ",
                                       size, " are ", name, "; a context of ", context,
                                       " needs at least ", context + 1, " in each part"));
    }
  };
  check(out.train.size(), "for training");
  check(out.held_out.size(), "held out");
  return out;
}

std::vector<std::size_t> evaluation_windows(std::size_t size, std::size_t context,
                                            std::size_t at_most) {
  const std::size_t possible = size == 0 ? 0 : (size - 1) / context;
  const std::size_t count = std::min(possible, at_most);
  std::vector<std::size_t> out(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = i * possible / count * context;
  return out;
}

std::size_t training_window(std::uint64_t seed, std::size_t step, std::size_t index,
                            std::size_t size, std::size_t context) {
  const std::uint64_t bits = mix_bits(mix_bits(mix_bits(seed) ^ step) ^ index);
  return static_cast<std::size_t>(bits % (size - context));
}

std::vector<std::int32_t> window_tokens(std::span<const std::uint8_t> text,
                                        std::span<const std::size_t> starts, std::size_t context) {
  std::vector<std::int32_t> out;
  out.reserve(starts.size() * (context + 1));
  for (const std::size_t start : starts) {
    const auto window = text.subspan(start, context + 1);
    out.insert(out.end(), window.begin(), window.end());
  }
  return out;
}

bigram_model::bigram_model(std::span<const std::uint8_t> text, double smoothing)
    : smoothing_(smoothing), pairs_(256 * 256), totals_(256) {
  for (std::size_t i = 0; i + 1 < text.size(); ++i) {
    pairs_[text[i] * 256U + text[i + 1]] += 1;
    totals_[text[i]] += 1;
  }
}

double bigram_model::probability(std::uint8_t byte, std::uint8_t next) const {
  return (pairs_[byte * 256U + next] + smoothing_) / (totals_[byte] + 256 * smoothing_);
}

double bigram_model::loss(std::span<const std::uint8_t> text, std::span<const std::size_t> starts,
                          std::size_t context) const {
  double sum = 0;
  for (const std::size_t start : starts) {
    const auto window = text.subspan(start, context + 1);
    for (std::size_t i = 0; i < context; ++i)
      sum -= std::log(probability(window[i], window[i + 1]));
  }
  return sum / static_cast<double>(starts.size() * context);
}

std::string printable(std::span<const std::uint8_t> text) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const std::uint8_t byte : text) {
    if (byte == '\t') {
      out += "  ";
    } else if (byte == '\n' || (byte >= 32 && byte < 127)) {
      out += static_cast<char>(byte);
    } else {
      out += "\\x";
      out += digits[byte / 16];
      out += digits[byte % 16];
    }
  }
  return out;
}

}  // namespace train_gpt
