#include "text.hpp"

#include <rondel/core/text.hpp>

#include "host_kernels.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>

namespace train_gpt {
namespace {

namespace fs = std::filesystem;

// `\xNN`.
[[nodiscard]] std::string escaped(std::uint8_t byte) {
  constexpr char digits[] = "0123456789abcdef";
  return {'\\', 'x', digits[byte / 16], digits[byte % 16]};
}

// Adds files to a text of at most `limit` bytes.
class text_reader {
 public:
  text_reader(loaded_text& out, std::size_t limit) : out_(out), limit_(limit) {}

  // Adds the file and says whether it was added: not if it is empty, nor, with `text_only`, if it
  // holds a zero byte.
  bool add(const std::string& path, bool text_only) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                               std::fclose);
    if (file == nullptr) refuse(path, errno);
    const std::size_t before = out_.bytes.size();
    std::uint8_t block[4096];
    while (const std::size_t count = std::fread(block, 1, sizeof block, file.get())) {
      if (text_only && std::find(block, block + count, 0) != block + count) {
        out_.bytes.resize(before);
        return false;
      }
      if (count > limit_ - out_.bytes.size()) {
        throw usage_error(rondel::concat("--text: with the file '", path,
                                         "' the text is longer than ", limit_, " bytes"));
      }
      out_.bytes.insert(out_.bytes.end(), block, block + count);
    }
    if (std::ferror(file.get()) != 0) refuse(path, errno);
    if (out_.bytes.size() == before) return false;
    ++out_.files;
    return true;
  }

 private:
  [[noreturn]] static void refuse(const std::string& path, int code) {
    throw usage_error(rondel::concat("--text: cannot read '", path,
                                     "': ", std::generic_category().message(code)));
  }

  loaded_text& out_;
  std::size_t limit_;
};

[[nodiscard]] bool hidden(const fs::path& path) {
  return path.filename().string().starts_with(".");
}

[[nodiscard]] std::vector<std::string> files_below(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code error;
  fs::recursive_directory_iterator next(folder, error);
  for (; !error && next != fs::recursive_directory_iterator(); next.increment(error)) {
    std::error_code unknown;  // a link to itself, for example, is no file
    if (hidden(next->path())) {
      next.disable_recursion_pending();
    } else if (next->is_regular_file(unknown)) {
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

loaded_text load_text(const std::vector<std::string>& paths, std::size_t limit) {
  loaded_text out;
  text_reader reader(out, limit);
  for (const std::string& path : paths) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (!fs::exists(status)) {
      throw usage_error(rondel::concat("--text: there is no file or folder '", path, "'"));
    }
    if (fs::is_directory(status)) {
      for (const std::string& file : files_below(path)) reader.add(file, true);
    } else if (!reader.add(path, false)) {
      throw usage_error(rondel::concat("--text: the file '", path, "' is empty"));
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
  std::string out;
  for (const std::uint8_t byte : text) {
    if (byte == '\t') {
      out += "  ";
    } else if (byte == '\n' || (byte >= 32 && byte < 127)) {
      out += static_cast<char>(byte);
    } else {
      out += escaped(byte);
    }
  }
  return out;
}

std::string one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (byte < 32 || byte == 127) {
      out += escaped(byte);
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace train_gpt
