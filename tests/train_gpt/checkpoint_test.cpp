#include "checkpoint.hpp"

#include <rondel/launch.hpp>

#include "harness.hpp"
#include "memory_disk.hpp"
#include "message_of.hpp"
#include "session.hpp"
#include "session_support.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace train_gpt;
using ::test::memory_disk;
using ::test::message_of;
using train_gpt::test::deaf;
using train_gpt::test::losses;
using train_gpt::test::relative_error;
using train_gpt::test::rhyme;
using train_gpt::test::small_options;

namespace {

options saving_options(std::size_t every = 7) {
  options o = small_options();
  o.steps = 20;
  o.checkpoint = "d";
  o.save_every = every;
  o.keep = 10;
  return o;
}

options resuming(options o) {
  o.resume = "latest";
  return o;
}

template <class T = double>
outcome train(rondel::disk& disk, const rondel::threads& engine, const options& o,
              listener& heard) {
  const byte_text text = rhyme();
  const text_split split = split_text(text, o.holdout, o.model.context);
  checkpoint_store store(disk, o, split);
  return run_session<T>(engine, o, split, store, nullptr, heard);
}

template <class T = double>
outcome train(rondel::disk& disk, const rondel::threads& engine, const options& o) {
  deaf nobody;
  return train<T>(disk, engine, o, nobody);
}

// Removes the manifests of steps after `step`.
void forget_after(memory_disk& disk, std::uint64_t step) {
  for (const std::string& name : disk.list("d")) {
    const auto entry = rondel::detail::parse_entry(name);
    REQUIRE(entry);
    if (entry->manifest && entry->id.step > step) disk.remove("d/" + name);
  }
}

// The bytes of all shards of the newest checkpoint of step `step`.
std::vector<std::byte> state_of(memory_disk& disk, std::uint64_t step) {
  std::vector<std::byte> out;
  const auto found = rondel::checkpoint_folder(disk, "d").latest();
  REQUIRE(found);
  CHECK(found->manifest.step == step);
  for (const auto& file : found->manifest.files) {
    const auto& bytes = disk.contents("d/" + file.name);
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  return out;
}

// Reports and results of a run from step `first` on.
void check_same_bits(const outcome& resumed, const outcome& whole, std::size_t first) {
  REQUIRE(whole.steps.size() == resumed.steps.size() + first);
  for (std::size_t i = 0; i < resumed.steps.size(); ++i) {
    const step_metrics& a = resumed.steps[i];
    const step_metrics& b = whole.steps[first + i];
    CHECK(a.step == b.step);
    CHECK(a.loss == b.loss);
    CHECK(a.gradient_norm == b.gradient_norm);
    CHECK(a.learning_rate == b.learning_rate);
  }
  CHECK(resumed.train_loss == whole.train_loss);
  CHECK(resumed.held_out_loss == whole.held_out_loss);
  CHECK(resumed.sample == whole.sample);
}

template <class T>
void check_resume(const rondel::threads& engine) {
  CAPTURE(engine.ranks);
  options o = saving_options();
  o.precision = sizeof(T) == 4 ? "f32" : "f64";
  options quiet = o;
  quiet.checkpoint = "";
  quiet.save_every = 0;
  memory_disk disk, nothing;
  const outcome whole = train<T>(nothing, engine, quiet);
  const outcome saving = train<T>(disk, engine, o);
  CHECK(nothing.events().empty());
  CHECK(saving.saves == 3);  // after 7, 14 and 20 steps
  check_same_bits(saving, whole, 0);
  const auto last = state_of(disk, 20);
  for (const std::size_t step : {14U, 7U}) {
    forget_after(disk, step);
    const outcome resumed = train<T>(disk, engine, resuming(o));
    check_same_bits(resumed, whole, step);
    CHECK(state_of(disk, 20) == last);
  }
  // Nothing is left to do: evaluation and text alone.
  const outcome done = train<T>(disk, engine, resuming(o));
  check_same_bits(done, whole, 20);
  CHECK(done.saves == 0);
}

}  // namespace

TEST_CASE("a resumed run is the uninterrupted one, bit for bit") {
  for (const int ranks : {1, 2, 4}) {
    for (const auto mode : {rondel::stream_mode::immediate, rondel::stream_mode::worker}) {
      check_resume<float>({.ranks = ranks, .streams = mode});
      check_resume<double>({.ranks = ranks, .streams = mode});
    }
  }
}

TEST_CASE("a run that ends and is resumed after every step gives the same state") {
  struct killed {};
  struct killer final : deaf {
    void saved(std::size_t, const save_result&, double) override { throw killed(); }
  };
  const options o = saving_options(1);
  memory_disk whole, pieces;
  const outcome expected = train(whole, {.ranks = 2}, o);
  killer heard;
  for (int runs = 0; runs < 20; ++runs) {
    CHECK_THROWS_AS(static_cast<void>(train(pieces, {.ranks = 2}, resuming(o), heard)), killed);
  }
  check_same_bits(train(pieces, {.ranks = 2}, resuming(o), heard), expected, 20);
  CHECK(state_of(pieces, 20) == state_of(whole, 20));
}

TEST_CASE("a run may go on with another number of ranks, up to rounding") {
  options o = saving_options(10);
  memory_disk reference;
  const outcome whole = train(reference, {.ranks = 1}, o);
  for (const int before : {1, 2, 3}) {
    for (const int after : {1, 2, 4}) {
      if (before == after) continue;
      CAPTURE(before);
      CAPTURE(after);
      memory_disk disk;
      static_cast<void>(train(disk, {.ranks = before}, o));
      forget_after(disk, 10);
      options more = resuming(o);
      more.accumulation = after == 1 ? 2 : 1;
      const outcome resumed = train(disk, {.ranks = after}, more);
      CHECK(resumed.steps.size() == 10);
      std::vector<double> tail = losses(whole);
      tail.erase(tail.begin(), tail.begin() + 10);
      CHECK(relative_error(losses(resumed), tail) < 1e-10);
      CHECK(rondel::checkpoint_folder(disk, "d").latest()->manifest.world ==
            std::vector<rondel::world_axis>{{"data", static_cast<std::uint64_t>(after)}});
    }
  }
}

TEST_CASE("shards of about equal size hold every tensor once") {
  memory_disk disk;
  static_cast<void>(train(disk, {.ranks = 4}, saving_options(0)));
  const auto found = rondel::checkpoint_folder(disk, "d").latest();
  REQUIRE(found);
  REQUIRE(found->manifest.files.size() == 4);
  const auto saved = rondel::checkpoint_folder(disk, "d").open(*found);
  const parameter_layout layout(small_options().model);
  CHECK(saved.size() == 3 * layout.tensors().size());
  std::uint64_t total = 0;
  for (const auto& file : found->manifest.files) total += file.bytes;
  for (const auto& file : found->manifest.files) {
    CHECK(file.bytes > total / 8);
    CHECK(file.bytes < total / 2);
  }
  CHECK(saved.at("model.token.weight").shape ==
        std::vector<std::uint64_t>{256, small_options().model.width});
  CHECK(saved.at("optimizer.moment2.norm.gain").shape ==
        std::vector<std::uint64_t>{small_options().model.width});
  CHECK(saved.at("model.token.weight").type == rondel::tensor_dtype::f64);
}

TEST_CASE("another run's checkpoint is refused, and both sides are named") {
  memory_disk disk;
  const options o = resuming(saving_options());
  static_cast<void>(train<float>(disk, {.ranks = 2}, o));
  const auto refusal = [&](auto&& change) {
    options other = o;
    change(other);
    return message_of<usage_error>(
        [&] { static_cast<void>(train<float>(disk, {.ranks = 2}, other)); });
  };
  const std::string begin = "--resume: checkpoint-000003-step-20 was made with ";
  CHECK(refusal([](options& x) { x.model.width = 32; }) ==
        begin + "--width 16, this run has --width 32");
  CHECK(refusal([](options& x) { x.model.layers = 2; }) ==
        begin + "--layers 1, this run has --layers 2");
  CHECK(refusal([](options& x) { x.model.heads = 4; }) ==
        begin + "--heads 2, this run has --heads 4");
  CHECK(refusal([](options& x) { x.precision = "f64"; }) ==
        begin + "--precision f32, this run has --precision f64");
  CHECK(refusal([](options& x) { x.learning_rate = 0.1; }) ==
        begin + "--lr 0.01, this run has --lr 0.1");
  CHECK(refusal([](options& x) { x.steps = 30; }) == begin + "--steps 20, this run has --steps 30");
  CHECK(refusal([](options& x) { x.seed = 2; }) == begin + "--seed 1, this run has --seed 2");
  CHECK(refusal([](options& x) { x.batch = 48; }) == begin + "--batch 24, this run has --batch 48");
  CHECK(refusal([](options& x) { x.adamw.clip = 0.25; }) ==
        begin + "--clip 1, this run has --clip 0.25");
  CHECK(refusal([](options& x) { x.holdout = 0.2; }).starts_with(begin + "--text "));
  for (const auto& harmless : std::vector<void (*)(options&)>{
           [](options& x) { x.accumulation = 2; }, [](options& x) { x.bucket = 1; },
           [](options& x) { x.eval_every = 3; }, [](options& x) { x.save_every = 1; }}) {
    CHECK(refusal(harmless).empty());
  }
}

TEST_CASE("a folder without a checkpoint is the start, or an error if it was named") {
  memory_disk disk;
  const options o = resuming(saving_options());
  CHECK(train(disk, {.ranks = 1}, o).steps.size() == 20);
  options other = o;
  other.resume = "elsewhere";
  CHECK(message_of<usage_error>([&] { static_cast<void>(train(disk, {.ranks = 1}, other)); }) ==
        "--resume: there is no checkpoint in 'elsewhere'");
  // From one folder to another.
  other.resume = "d";
  other.checkpoint = "e";
  forget_after(disk, 14);
  CHECK(train(disk, {.ranks = 1}, other).steps.size() == 6);
  CHECK(disk.list("e").size() == 2);
}

TEST_CASE("a damaged newest checkpoint is passed over, and it is told why") {
  memory_disk disk;
  const options o = saving_options();
  static_cast<void>(train(disk, {.ranks = 2}, o));
  disk.contents("d/checkpoint-000003-step-20-shard-1-of-2.safetensors").back() ^= std::byte{1};
  const byte_text text = rhyme();
  const text_split split = split_text(text, o.holdout, o.model.context);
  const checkpoint_store store(disk, resuming(o), split);
  CHECK(store.first_step() == 14);
  REQUIRE(store.found()->damaged.size() == 1);
  CHECK(store.found()->damaged[0].starts_with(
      "checkpoint-000003-step-20: 'checkpoint-000003-step-20-shard-1-of-2.safetensors' has the "
      "checksum "));
  for (const char* name : {"d/checkpoint-000001-step-7.json", "d/checkpoint-000002-step-14.json"}) {
    disk.contents(name).clear();
  }
  CHECK(message_of<usage_error>([&] {
          checkpoint_store(disk, resuming(o), split);
        }).starts_with("--resume: no checkpoint in 'd' is complete; "));
}

TEST_CASE("a checkpoint whose tensors are others is refused") {
  memory_disk disk;
  const options o = saving_options();
  static_cast<void>(train(disk, {.ranks = 1}, o));
  rondel::checkpoint_folder folder(disk, "d");
  // A manifest that claims the same options for another model.
  const auto found = folder.latest();
  const auto id = folder.begin(20);
  auto writer = folder.write_shard(id, 0, 1, {{.name = "model.head.weight", .shape = {0}}});
  writer.publish();
  rondel::checkpoint_manifest manifest = found->manifest;
  manifest.files = {rondel::checkpoint_folder::record(writer.file())};
  folder.publish(id, manifest);
  CHECK(message_of<rondel::invalid_data>([&] {
          static_cast<void>(train(disk, {.ranks = 2}, resuming(o)));
        }).starts_with("the checkpoint has 1 tensors; the model needs "));
}

TEST_CASE("a save that fails stops every rank with one sentence, and harms no checkpoint") {
  for (const int ranks : {1, 2, 3}) {
    for (const auto mode : {rondel::stream_mode::immediate, rondel::stream_mode::worker}) {
      CAPTURE(ranks);
      options o = saving_options();
      memory_disk disk;
      static_cast<void>(train(disk, {.ranks = ranks}, o));
      forget_after(disk, 7);
      const std::size_t now = disk.events().size();
      // Ranks write at the same time, so that it may fail anywhere in the second save of this run.
      for (const std::size_t later : {5U, 9U, 12U}) {
        disk.fail_at(disk.events().size() + later, true);
        CHECK(message_of<save_failed>([&] {
                static_cast<void>(train(disk, {.ranks = ranks, .streams = mode}, resuming(o)));
              }) ==
              "the checkpoint after step 14 is not saved: cannot write: No space left on "
              "device");
        disk.heal();
        CHECK(rondel::checkpoint_folder(disk, "d").latest()->manifest.step == 7);
      }
      CHECK(disk.events().size() > now);
    }
  }
}

TEST_CASE("training goes on when a save fails, if it is told to") {
  options o = saving_options(4);
  o.on_save_error = "continue";
  memory_disk disk, healthy;
  const outcome expected = train(healthy, {.ranks = 2}, o);
  disk.fail_at(4, true);  // in the first save
  const outcome all_failed = train(disk, {.ranks = 2, .streams = rondel::stream_mode::worker}, o);
  check_same_bits(all_failed, expected, 0);
  CHECK(all_failed.saves == 0);
  CHECK(all_failed.failed_saves == 5);
  disk.heal();
  CHECK_FALSE(rondel::checkpoint_folder(disk, "d").latest());

  disk.fail_at(disk.events().size() + 20, false);  // once
  const outcome once = train(disk, {.ranks = 2}, o);
  check_same_bits(once, expected, 0);
  CHECK(once.saves == 4);
  CHECK(once.failed_saves == 1);
  CHECK(state_of(disk, 20) == state_of(healthy, 20));
}

TEST_CASE("an old checkpoint that cannot be removed is told apart from one that is not saved") {
  options o = saving_options(0);
  o.keep = 1;
  memory_disk disk;
  static_cast<void>(train(disk, {.ranks = 1}, o));
  const std::size_t before = disk.events().size();
  static_cast<void>(train(disk, {.ranks = 1}, o));
  // The next run does the same, and the removals are the last of it.
  std::size_t removal = disk.events().size() - before;
  while (disk.events()[before + removal - 1].what == ::test::disk_event::kind::remove) --removal;
  disk.fail_at(disk.events().size() + removal, false);
  CHECK(message_of<save_failed>([&] { static_cast<void>(train(disk, {.ranks = 1}, o)); }) ==
        "a checkpoint that is too old cannot be removed: cannot write: No space left on device");
  CHECK(state_of(disk, 20).size() > 1000);
}

TEST_CASE(
    "a folder that cannot be written to is refused before training, if errors are to stop it") {
  memory_disk disk;
  disk.fail_at(0, true);
  options o = saving_options();
  CHECK(message_of<usage_error>([&] { static_cast<void>(train(disk, {.ranks = 2}, o)); }) ==
        "--checkpoint: cannot write: No space left on device");
  o.on_save_error = "continue";
  CHECK(train(disk, {.ranks = 2}, o).failed_saves == 3);
}

TEST_CASE("saving counts neither as work nor as traffic of the steps") {
  memory_disk disk;
  options o = saving_options(3);
  const outcome with = train(disk, {.ranks = 3}, o);
  o.checkpoint = "";
  o.save_every = 0;
  const outcome without = train(disk, {.ranks = 3}, o);
  for (std::size_t r = 0; r < 3; ++r) {
    CHECK(with.ranks[r].work.launches == without.ranks[r].work.launches);
    CHECK(with.ranks[r].work.bytes_read == without.ranks[r].work.bytes_read);
    CHECK(with.ranks[r].gradient_traffic == without.ranks[r].gradient_traffic);
    CHECK(with.ranks[r].metric_traffic == without.ranks[r].metric_traffic);
    CHECK(with.ranks[r].memory.peak == without.ranks[r].memory.peak);
  }
}
