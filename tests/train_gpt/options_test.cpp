#include "options.hpp"

#include "text.hpp"

#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace train_gpt;

namespace {

std::optional<options> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "train_gpt");
  arguments.insert(arguments.end(), {"--trace-steps", "0"});
  return parse_options(static_cast<int>(arguments.size()), arguments.data());
}

}  // namespace

TEST_CASE("defaults fit together and reach the trainer") {
  const auto o = parse({});
  REQUIRE(o);
  const training_config c = o->training();
  CHECK(c.batch == o->batch);
  CHECK(c.schedule.steps == o->steps);
  CHECK(c.schedule.peak == o->learning_rate);
  CHECK(c.schedule.minimum == c.schedule.peak / 10);
  CHECK(c.schedule.warmup == c.schedule.steps / 20);
  CHECK(c.model.vocabulary == 256);
}

TEST_CASE("options are read") {
  const auto o = parse({"--layers",
                        "3",
                        "--heads=2",
                        "--width",
                        "10",
                        "--context",
                        "7",
                        "--batch",
                        "12",
                        "--accumulation",
                        "2",
                        "--ranks",
                        "3",
                        "--steps",
                        "9",
                        "--warmup",
                        "1",
                        "--lr",
                        "0.5",
                        "--min-lr",
                        "1e-3",
                        "--beta1",
                        "0",
                        "--beta2",
                        "0.5",
                        "--bucket",
                        "0.25",
                        "--precision",
                        "f64",
                        "--engine",
                        "sim",
                        "--streams",
                        "immediate",
                        "--text",
                        "a",
                        "b",
                        "--memory-limit",
                        "2"});
  REQUIRE(o);
  CHECK(o->model.layers == 3);
  CHECK(o->model.heads == 2);
  CHECK(o->model.width == 10);
  CHECK(o->model.context == 7);
  CHECK(o->text == std::vector<std::string>{"a", "b"});
  CHECK(o->precision == "f64");
  CHECK(o->engine == "sim");
  CHECK(o->streams == "immediate");
  CHECK(o->memory_bytes() == 2 * 1024 * 1024);
  const training_config c = o->training();
  CHECK(c.bucket_bytes == 256 * 1024);
  CHECK(c.accumulation == 2);
  CHECK(c.adamw.beta1 == 0);
  CHECK(c.adamw.beta2 == 0.5);
  CHECK(c.schedule.minimum == 1e-3);
}

TEST_CASE("whole numbers are decimal, whatever they begin with") {
  const auto o = parse({"--steps", "010", "--context", "08", "--warmup", "007", "--seed", "00"});
  REQUIRE(o);
  CHECK(o->steps == 10);
  CHECK(o->model.context == 8);
  CHECK(o->warmup == 7);
  CHECK(o->seed == 0);
  CHECK_THROWS_AS(static_cast<void>(parse({"--steps", "000"})), usage_error);
  CHECK_THROWS_AS(static_cast<void>(parse({"--steps", ""})), usage_error);
  CHECK_THROWS_AS(static_cast<void>(parse({"--steps", "0x10"})), usage_error);
}

TEST_CASE("the default batch suits one to four ranks") {
  for (const char* ranks : {"1", "2", "3", "4"}) CHECK_NOTHROW(parse({"--ranks", ranks}));
}

TEST_CASE("an epsilon that the precision cannot hold is refused") {
  CHECK_THROWS_AS(static_cast<void>(parse({"--eps", "1e-39"})), usage_error);
  CHECK_NOTHROW(parse({"--eps", "1e-39", "--precision", "f64"}));
  CHECK_THROWS_AS(static_cast<void>(parse({"--eps", "1e-309", "--precision", "f64"})), usage_error);
}

TEST_CASE("few steps and a low rate need no other option") {
  const auto o = parse({"--steps", "3", "--lr", "1e-6"});
  REQUIRE(o);
  CHECK(o->training().schedule.warmup == 0);
  CHECK(o->training().schedule.minimum == doctest::Approx(1e-7));
}

TEST_CASE("absurd sizes are refused before anything is allocated") {
  CHECK_THROWS_AS(static_cast<void>(parse({"--width", "65536", "--heads", "1", "--layers", "1000",
                                           "--context", "65536", "--batch", "1000000"})),
                  usage_error);
}
