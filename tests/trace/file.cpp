#include <rondel/core/file.hpp>

#include "message_of.hpp"
#include "scratch_folder.hpp"

#include <cstdlib>
#include <filesystem>
#include <string>

#include <doctest/doctest.h>

namespace {

using test::scratch_folder;

template <class F>
std::string io_message(F&& f) {
  return test::message_of<rondel::io_error>(f);
}

}  // namespace

TEST_CASE("text files come back byte for byte") {
  const scratch_folder folder;
  const std::string path = (folder.path / "a b.txt").string();
  std::string text = "first\r\n\0second\n";
  text += std::string("\0\x1a\xff", 3) + std::string(10000, 'x');
  rondel::write_text_file(path, text);
  CHECK(rondel::read_text_file(path) == text);
  rondel::write_text_file(path, "short");
  CHECK(rondel::read_text_file(path) == "short");
  rondel::write_text_file(path, "");
  CHECK(rondel::read_text_file(path, 0).empty());
}

TEST_CASE("files that cannot be opened are named with the reason") {
  const scratch_folder folder;
  const std::string path = (folder.path / "none" / "x.svg").string();
  CHECK(io_message([&] { rondel::write_text_file(path, "x"); }) ==
        "cannot open for writing '" + path + "': No such file or directory");
  CHECK(io_message([&] { (void)rondel::read_text_file(path); }) ==
        "cannot open for reading '" + path + "': No such file or directory");
  CHECK(io_message([&] { (void)rondel::read_text_file(folder.path.string()); }) ==
        "cannot read '" + folder.path.string() + "': Is a directory");
}

TEST_CASE("a full disk is an error, for short and for long texts") {
  if (!std::filesystem::exists("/dev/full")) return;
  for (const std::size_t size : {std::size_t{5}, std::size_t{1} << 20}) {
    CHECK(io_message([&] { rondel::write_text_file("/dev/full", std::string(size, 'x')); }) ==
          "cannot write '/dev/full': No space left on device");
  }
}

TEST_CASE("reading stops at the limit") {
  const scratch_folder folder;
  const std::string path = (folder.path / "x").string();
  rondel::write_text_file(path, std::string(5000, 'x'));
  CHECK(rondel::read_text_file(path, 5000).size() == 5000);
  CHECK(io_message([&] { (void)rondel::read_text_file(path, 4999); }) ==
        "cannot read '" + path + "': it is longer than the limit of 4999 B");
}
