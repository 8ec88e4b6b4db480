#include "text.hpp"

#include <rondel/core/file.hpp>

#include "generate.hpp"
#include "scratch_folder.hpp"

#include <cmath>
#include <filesystem>
#include <numeric>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace train_gpt;
namespace fs = std::filesystem;

namespace {

byte_text bytes(std::string_view text) { return {text.begin(), text.end()}; }

struct scratch_folder : test::scratch_folder {
  void write(const char* name, std::string_view text) const {
    fs::create_directories((path / name).parent_path());
    rondel::write_text_file((path / name).string(), text);
  }
  [[nodiscard]] std::string operator/(const char* name) const { return (path / name).string(); }
};

}  // namespace

TEST_CASE("files come in the given order and those of a folder by path") {
  const scratch_folder folder;
  folder.write("a/2.txt", "two ");
  folder.write("a/1.txt", "one ");
  folder.write("a/b/3.txt", "three ");
  folder.write("a/.hidden", "no");
  folder.write("a/.git/x", "no");
  folder.write("a/empty", "");
  folder.write("a/binary", std::string_view("a\0b", 3));
  folder.write("last", "last");
  const loaded_text text = load_text({folder / "last", folder / "a"});
  CHECK(text.bytes == bytes("lastone two three "));
  CHECK(text.files == 4);
}

TEST_CASE("what is no file below a folder is passed over") {
  const scratch_folder folder;
  folder.write("a/text", "text");
  fs::create_symlink("loop", folder / "a/loop");
  fs::create_symlink("nowhere", folder / "a/broken");
  CHECK(load_text({folder / "a"}).bytes == bytes("text"));
  CHECK_THROWS_AS(static_cast<void>(load_text({folder / "a/loop"})), usage_error);
}

TEST_CASE("the limit counts all text, but not what is passed over") {
  const scratch_folder folder;
  folder.write("a/1", "12345");
  folder.write("a/2", "67890");
  folder.write("a/binary", std::string(100, '\0'));
  folder.write("a/late", "ab" + std::string(1, '\0'));
  CHECK(load_text({folder / "a"}, 10).bytes == bytes("1234567890"));
  CHECK_THROWS_AS(static_cast<void>(load_text({folder / "a"}, 9)), usage_error);
  CHECK_THROWS_AS(static_cast<void>(load_text({folder / "a/1", folder / "a/1"}, 9)), usage_error);
}

TEST_CASE("a missing and an empty file are named") {
  const scratch_folder folder;
  folder.write("empty", "");
  CHECK_THROWS_AS(static_cast<void>(load_text({folder / "nothing"})), usage_error);
  CHECK_THROWS_AS(static_cast<void>(load_text({folder / "empty"})), usage_error);
  try {
    static_cast<void>(load_text({folder / "nothing"}));
  } catch (const usage_error& e) {
    CHECK(std::string(e.what()).find("nothing'") != std::string::npos);
  }
}

TEST_CASE("the held-out part is the tail") {
  const byte_text text = bytes("0123456789abcdefghij");
  const text_split split = split_text(text, 0.25, 3);
  CHECK(split.train.size() == 15);
  CHECK(split.held_out.size() == 5);
  CHECK(split.held_out.data() == text.data() + 15);
  CHECK_NOTHROW(static_cast<void>(split_text(text, 0.25, 4)));
  CHECK_THROWS_AS(static_cast<void>(split_text(text, 0.25, 5)), usage_error);
  CHECK_THROWS_AS(static_cast<void>(split_text(text, 0.9, 2)), usage_error);
  CHECK_THROWS_AS(static_cast<void>(split_text({}, 0.5, 1)), usage_error);
}

TEST_CASE("evaluation windows predict no byte twice") {
  CHECK(evaluation_windows(13, 4, 100) == std::vector<std::size_t>{0, 4, 8});
  CHECK(evaluation_windows(12, 4, 100) == std::vector<std::size_t>{0, 4});
  CHECK(evaluation_windows(4, 4, 100).empty());
  CHECK(evaluation_windows(0, 4, 100).empty());
  CHECK(evaluation_windows(401, 4, 4) == std::vector<std::size_t>{0, 100, 200, 300});
}

TEST_CASE("training windows are inside the text and spread over all of it") {
  std::set<std::size_t> seen;
  for (std::size_t step = 0; step < 20; ++step) {
    for (std::size_t i = 0; i < 20; ++i) {
      const std::size_t start = training_window(7, step, i, 20, 8);
      CHECK(start + 8 < 20);
      CHECK(start == training_window(7, step, i, 20, 8));
      seen.insert(start);
    }
  }
  CHECK(seen.size() == 12);
  CHECK(training_window(7, 0, 0, 1000000, 8) != training_window(8, 0, 0, 1000000, 8));
}

TEST_CASE("windows as tokens") {
  const byte_text text = bytes("abcdef");
  const std::vector<std::size_t> starts = {3, 0};
  CHECK(window_tokens(text, starts, 2) == std::vector<std::int32_t>{'d', 'e', 'f', 'a', 'b', 'c'});
  CHECK(window_tokens(bytes("\xff\x80"), std::vector<std::size_t>{0}, 1) ==
        std::vector<std::int32_t>{255, 128});
}

TEST_CASE("the bigram model by hand") {
  const byte_text text = bytes("abab");  // a->b twice, b->a once
  const bigram_model model(text, 0.5);
  CHECK(model.probability('a', 'b') == doctest::Approx(2.5 / 130).epsilon(1e-14));
  CHECK(model.probability('b', 'a') == doctest::Approx(1.5 / 129).epsilon(1e-14));
  CHECK(model.probability('z', 'a') == doctest::Approx(1.0 / 256).epsilon(1e-14));
  double total = 0;
  for (int next = 0; next < 256; ++next)
    total += model.probability('b', static_cast<std::uint8_t>(next));
  CHECK(total == doctest::Approx(1).epsilon(1e-12));
  const std::vector<std::size_t> starts = {0, 1};
  const double expected = -(2 * std::log(1.5 / 129) + 2 * std::log(2.5 / 130)) / 4;
  CHECK(model.loss(text, starts, 2) == doctest::Approx(expected).epsilon(1e-12));
}

TEST_CASE("texts whose bigram loss is known") {
  byte_text coin, cycle;
  for (int i = 0; i < 1000; ++i) {
    for (const char c : {'a', 'a', 'b', 'b'}) coin.push_back(static_cast<std::uint8_t>(c));
    for (const char c : {'a', 'b', 'c'}) cycle.push_back(static_cast<std::uint8_t>(c));
  }
  // After each letter both letters are equally likely: ln 2 nats a byte.
  const double even =
      bigram_model(coin, 1e-9).loss(coin, evaluation_windows(coin.size(), 64, 99), 64);
  CHECK(even == doctest::Approx(std::log(2.0)).epsilon(1e-3));
  // The next letter is certain.
  const double sure =
      bigram_model(cycle, 1e-9).loss(cycle, evaluation_windows(cycle.size(), 64, 99), 64);
  CHECK(std::abs(sure) < 1e-6);
}

TEST_CASE("what is not printable is escaped") {
  CHECK(printable(bytes("a\tb\n\x01\xff\\")) == "a  b\n\\x01\\xff\\");
}

TEST_CASE("a message is one line") {
  CHECK(one_line("a\nb\tc\x1b\x7f \xc3\xa4") == "a\\x0ab\\x09c\\x1b\\x7f \xc3\xa4");
}

TEST_CASE("sampling takes tokens by their share") {
  const std::vector<float> logits = {0, std::log(2.0F), std::log(5.0F), -100};
  const auto pick = [&](double unit, sampling how) {
    return choose_token(std::span<const float>(logits), how, unit);
  };
  CHECK(pick(0.999, {.temperature = 0}) == 2);
  CHECK(pick(0.0, {}) == 2);
  CHECK(pick(0.62, {}) == 2);
  CHECK(pick(0.63, {}) == 1);
  CHECK(pick(0.87, {}) == 1);
  CHECK(pick(0.88, {}) == 0);
  CHECK(pick(0.999999, {}) == 0);
  CHECK(pick(0.999999, {.top_k = 2}) == 1);
  CHECK(pick(0.75, {.temperature = 0.5}) == 2);  // shares 25, 4 and 1 of 30
  CHECK(pick(0.85, {.temperature = 0.5}) == 1);
  const std::vector<double> equal(3, 1.0);
  CHECK(choose_token(std::span<const double>(equal), {.top_k = 1}, 0.9) == 0);
}

TEST_CASE("generation goes on from the prompt and forgets what is beyond the context") {
  std::vector<std::size_t> lengths;
  const auto next = [&](std::span<const std::int32_t> tokens) {
    lengths.push_back(tokens.size());
    std::vector<float> logits(256, 0.0F);
    logits[static_cast<std::size_t>(tokens.back() + 1)] = 10;
    return logits;
  };
  CHECK(generate("ab", 3, 3, {.temperature = 0}, 1, next) == bytes("abcde"));
  CHECK(lengths == std::vector<std::size_t>{2, 3, 3});
  CHECK(generate("", 1, 3, {.temperature = 0}, 1, next) == byte_text{'\n' + 1});
  CHECK(generate("x", 0, 3, {}, 1, next) == bytes("x"));
}
