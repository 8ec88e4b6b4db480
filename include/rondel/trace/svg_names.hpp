#pragma once
#include <rondel/trace/format.hpp>
#include <rondel/trace/timeline.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rondel::detail {

// A fill and the colour of text on it.
struct svg_color {
  const char* fill;
  const char* ink;
};

// Colours that stay apart from each other under protanopia and deuteranopia; most are Okabe and
// Ito's (https://jfly.uni-koeln.de/color). The last one is for everything else.
inline constexpr svg_color svg_palette[] = {
    {"#0072b2", "#ffffff"}, {"#e69f00", "#111827"}, {"#009e73", "#111827"}, {"#cc79a7", "#111827"},
    {"#56b4e9", "#111827"}, {"#d55e00", "#ffffff"}, {"#f0e442", "#111827"}, {"#332288", "#ffffff"},
    {"#a0edc8", "#111827"}, {"#8c1c13", "#ffffff"}, {"#7b6fe8", "#111827"}, {"#c4c8ce", "#111827"}};
inline constexpr std::size_t svg_other = 11;

// The part of the time axis that is drawn, and where.
struct svg_window {
  double from = 0;   // seconds
  double to = 0;     // seconds
  double left = 0;   // pixels
  double width = 0;  // pixels

  [[nodiscard]] double pixels(double seconds) const noexcept {
    return seconds / (to - from) * width;
  }
  // Horizontal place of a time, kept inside the window.
  [[nodiscard]] double x(double time) const noexcept {
    return left + pixels(std::clamp(time, from, to) - from);
  }
  [[nodiscard]] bool shows(const timeline_span& span) const noexcept {
    return span.end >= from && span.begin <= to;
  }
  // Seconds of `span` that are inside the window.
  [[nodiscard]] double seconds(const timeline_span& span) const noexcept {
    return std::max(0.0, std::min(span.end, to) - std::max(span.begin, from));
  }
};

// The operations of a picture: which time each took, and its colour.
class svg_names {
 public:
  struct entry {
    std::string_view name;
    double seconds = 0;
    std::size_t color = svg_other;
    bool shown = false;   // whether the window holds any of it
    bool chosen = false;  // whether it is among the longest
  };

  svg_names(const std::vector<const timeline_lane*>& lanes, const svg_window& window) {
    for (const timeline_lane* lane : lanes) {
      for (const timeline_span& span : lane->spans()) {
        entries_.push_back({span.name, window.seconds(span), svg_other, window.shows(span), false});
      }
    }
    std::sort(entries_.begin(), entries_.end(),
              [](const entry& a, const entry& b) { return a.name < b.name; });
    std::size_t count = 0;
    for (const entry& one : entries_) {
      total_ += one.seconds;
      if (count > 0 && entries_[count - 1].name == one.name) {
        entries_[count - 1].seconds += one.seconds;
        entries_[count - 1].shown |= one.shown;
      } else {
        entries_[count++] = one;
      }
    }
    entries_.resize(count);
    for (entry& one : entries_) {
      if (one.shown) by_time_.push_back(&one);
    }
    std::sort(by_time_.begin(), by_time_.end(), [](const entry* a, const entry* b) {
      return a->seconds != b->seconds ? a->seconds > b->seconds : a->name < b->name;
    });
    choose_colors();
  }

  svg_names(const svg_names&) = delete;
  svg_names& operator=(const svg_names&) = delete;

  // Index into the palette, of a name that a lane holds.
  [[nodiscard]] std::size_t color(std::string_view name) const {
    return std::lower_bound(entries_.begin(), entries_.end(), name,
                            [](const entry& one, std::string_view key) { return one.name < key; })
        ->color;
  }
  // The operations that the window holds, the longest total time first.
  [[nodiscard]] const std::vector<entry*>& by_time() const noexcept { return by_time_; }
  // Seconds of all spans inside the window.
  [[nodiscard]] double total() const noexcept { return total_; }

 private:
  // All operations, or the longest if there are too many, get a colour of their own: the one
  // that their name stands for, or the next free one. So colours are the same in all pictures
  // of one program, and of parts of its time.
  void choose_colors() {
    const bool all = entries_.size() <= svg_other;
    for (std::size_t i = 0; i < by_time_.size(); ++i) by_time_[i]->chosen = i < svg_other;
    bool taken[svg_other] = {};
    for (entry& one : entries_) {
      if (!all && !one.chosen) continue;
      std::uint64_t hash = 14695981039346656037U;  // FNV-1a
      for (const char c : one.name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
      auto place = static_cast<std::size_t>((hash >> 32) % svg_other);
      while (taken[place]) place = (place + 1) % svg_other;
      taken[place] = true;
      one.color = place;
    }
  }

  std::vector<entry> entries_;  // by name
  std::vector<entry*> by_time_;
  double total_ = 0;
};

// Pixels that `text` takes at most, for common sans-serif fonts of `size` pixels.
[[nodiscard]] inline double text_width(std::string_view text, double size) noexcept {
  double ems = 0;
  while (!text.empty()) ems += next_code_point(text) < 0x1100 ? 0.62 : 1.0;
  return ems * size;
}

}  // namespace rondel::detail
