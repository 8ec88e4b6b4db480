#pragma once
#include <rondel/core/text.hpp>
#include <rondel/trace/format.hpp>
#include <rondel/trace/nesting.hpp>
#include <rondel/trace/svg_names.hpp>
#include <rondel/trace/timeline.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace rondel {

/// What `to_svg` draws.
struct svg_options {
  /// The picture's headline.
  std::string title = "Timeline";
  /// Width of the picture in pixels, at least 480.
  int width = 1200;
  /// Left edge, in seconds since the timeline's origin; without one, the first span's begin.
  double from = -std::numeric_limits<double>::infinity();
  /// Right edge, in seconds since the timeline's origin; without one, the last span's end.
  double to = std::numeric_limits<double>::infinity();
};

namespace detail {

// Appends `<text class="..." x="..." y="...">...</text>`.
inline void append_svg_text(std::string& out, const char* classes, double x, double y,
                            std::string_view text) {
  out += concat("<text class=\"", classes, "\" x=\"");
  append_number(out, x, 1);
  out += "\" y=\"";
  append_number(out, y, 1);
  out += "\">";
  append_xml(out, text);
  out += "</text>\n";
}

// Appends a rectangle.
inline void append_svg_box(std::string& out, std::string_view fill, double x, double y,
                           double width, double height, int radius) {
  out += "<rect x=\"";
  append_number(out, x, 1);
  out += "\" y=\"";
  append_number(out, y, 1);
  out += "\" width=\"";
  append_number(out, width, 1);
  out += "\" height=\"";
  append_number(out, height, 1);
  out += concat("\" rx=\"", radius, "\" fill=\"", fill, "\"/>\n");
}

// 10^`exponent`.
[[nodiscard]] constexpr double power_of_ten(int exponent) noexcept {
  double power = 1;
  for (int i = exponent < 0 ? -exponent : exponent; i > 0; --i) power *= 10;
  return exponent < 0 ? 1 / power : power;
}

// The smallest whole number from `value` on; values beyond 2^53 are whole already.
[[nodiscard]] constexpr double round_up(double value) noexcept {
  if (magnitude(value) > 9e15) return value;
  const auto whole = static_cast<double>(static_cast<std::int64_t>(value));
  return whole < value ? whole + 1 : whole;
}

// Marks on the time axis: multiples of 1, 2 or 5 times a power of ten.
struct svg_ticks {
  struct tick {
    double time;
    std::string label;
  };
  std::vector<tick> marks;

  explicit svg_ticks(const svg_window& window) {
    const double range = window.to - window.from;
    const int unit = range >= 0.999 ? 0 : range >= 0.999e-3 ? -3 : range >= 0.999e-6 ? -6 : -9;
    for (int exponent = -12; exponent < 300; ++exponent) {
      for (const int digit : {1, 2, 5}) {
        const double step = digit * power_of_ten(exponent);
        const double spacing = window.pixels(step);
        const int decimals = std::max(0, unit - exponent);
        const double widest = std::max(text_width(label(window.from, unit, unit), 11),
                                       text_width(label(window.to, unit, unit), 11)) +
                              (decimals > 0 ? 0.62 * 11 * (1 + decimals) : 0);
        if (spacing < widest + 30) continue;
        const double first = round_up(window.from / step - 1e-9);
        for (int i = 0; i <= window.width / spacing + 1; ++i) {
          const double time = (first + i) * step;
          if (time > window.to + 1e-9 * range) break;
          marks.push_back({time, label(time, exponent, unit)});
        }
        return;
      }
    }
  }

  // `time` with the digits that multiples of 10^`exponent` have in units of 10^`unit` seconds.
  [[nodiscard]] static std::string label(double time, int exponent, int unit) {
    std::string out;
    append_number(out, time * power_of_ten(-unit), std::max(0, unit - exponent));
    return out + (unit == 0 ? " s" : unit == -3 ? " ms" : unit == -6 ? " us" : " ns");
  }
};

// Sizes in pixels.
struct svg_layout {
  double lane_height;
  double lane_gap;
  double lane_left;  // where the names of lanes begin
  svg_window window;

  static constexpr double top = 76;  // of the first rank
  static constexpr double margin = 10;
  static constexpr double padding = 6;  // around the lanes of a rank
  static constexpr std::size_t longest_name = 24;

  svg_layout(const std::vector<const timeline_lane*>& lanes, const svg_options& options) {
    const bool crowded = lanes.size() > 64;
    lane_height = crowded ? 12 : 20;
    lane_gap = crowded ? 2 : 3;
    double ranks = 0;
    double names = 0;
    window.from = std::numeric_limits<double>::infinity();
    window.to = -window.from;
    for (const timeline_lane* lane : lanes) {
      ranks = std::max(ranks, text_width(rank_label(lane->rank()), 12));
      names = std::max(names, text_width(shortened(lane->name(), longest_name), 11));
      for (const timeline_span& span : lane->spans()) {
        window.from = std::min(window.from, span.begin);
        window.to = std::max(window.to, span.end);
      }
    }
    if (options.from > -std::numeric_limits<double>::infinity()) window.from = options.from;
    if (options.to < std::numeric_limits<double>::infinity()) window.to = options.to;
    if (window.from == window.to) window.to = window.from + 1e-6;
    lane_left = margin + padding + ranks + 12;
    window.left = lane_left + names + 10;
    window.width = options.width - margin - padding - 46 - window.left;
  }

  [[nodiscard]] double rank_height(std::size_t lanes) const noexcept {
    return static_cast<double>(lanes) * (lane_height + lane_gap) - lane_gap + 2 * padding;
  }
};

}  // namespace detail
}  // namespace rondel
